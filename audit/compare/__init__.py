"""What changed between two runs: a new version of the data, another model, other vectors, another reference or rule.

Rows are matched by what they say, not by where they stand. Scores are compared number by number where both runs
measured the same thing, else in standard deviations of the references. Everything is a join over both runs in DuckDB.
"""

from audit.compare.job import LISTED_ROWS, compare_runs

__all__ = ["LISTED_ROWS", "compare_runs"]
