"""The bundled demo: a closed world of chats, its exact judge, a small model and a laboratory.

Importing this package, the world or the judge does not import torch; `train`, `vectors` and
`laboratory` do. Scores of the demo model say nothing about real English.
"""
