"""Ask a run: its relations in DuckDB, read-only, with the user's SQL or a named query.

Nothing here writes, and nothing outside the run directory can be read. Knows nothing of how results are shown.
"""

from audit.query.connection import list_traits, open_connection, open_pair
from audit.query.named import NamedQuery, Parameter, find_named_query, named_queries, run_named
from audit.query.relations import RELATIONS
from audit.query.statement import check_condition, check_statement, read_batches, run_query

__all__ = [
    "RELATIONS",
    "NamedQuery",
    "Parameter",
    "check_condition",
    "check_statement",
    "find_named_query",
    "list_traits",
    "named_queries",
    "open_connection",
    "open_pair",
    "read_batches",
    "run_named",
    "run_query",
]
