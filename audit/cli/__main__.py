"""`python -m audit.cli`, for when the command is not on the path."""

from audit.cli.entry import main

main()
