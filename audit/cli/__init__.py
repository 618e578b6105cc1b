"""The command line: words → settings → one library call → print → exit code.

Importing it is cheap; torch, duckdb, polars and rich are imported inside the commands that need them.
"""

from audit.cli.entry import cli, main

__all__ = ["cli", "main"]
