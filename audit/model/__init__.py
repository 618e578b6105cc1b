"""The model room: load, render, project, generate, measure loss. The only room below `demo/` that imports torch."""

import os

# Threads that spin while they wait starve each other as soon as the machine has other work: a scan beside two busy
# processes took ten times as long. Read once, when torch loads its OpenMP runtime; a user's own setting stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
