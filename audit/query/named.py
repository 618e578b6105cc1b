"""Named queries: one file of `sql/` each, with a comment header that says what it gives and what it takes.

Header lines, in this order: `-- sentence`, then `-- param NAME (TYPE[, default VALUE]): meaning` and
`-- column NAME [(UNIT)]: meaning`. TYPE is text, integer or number. Values are bound, never pasted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import duckdb

from audit.errors import QueryError
from audit.query.connection import list_traits
from audit.query.statement import run_query

Value = str | int | float

_PARAMETER = re.compile(r"param (\w+) \((text|integer|number)(?:, default ([^)]*))?\): (.+)")
_COLUMN = re.compile(r"column (\S+)(?: \(([^)]*)\))?: (.+)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a named query takes; `default` None means it must be given."""

    name: str
    type: str
    default: Value | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Column:
    """What a named query gives; `<trait>` stands for one column per trait."""

    name: str
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One file of `sql/`."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    sql: str


@cache
def named_queries() -> dict[str, NamedQuery]:
    """Return all named queries by name, sorted."""
    found = [entry for entry in files("audit.sql").iterdir() if entry.name.endswith(".sql")]
    return {
        entry.name.removesuffix(".sql"): parse_query(entry.name.removesuffix(".sql"), entry.read_text("utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    }


def find_named_query(name: str) -> NamedQuery:
    """Return one named query.

    Raises:
        QueryError: there is none of that name.
    """
    queries = named_queries()
    if name not in queries:
        close = difflib.get_close_matches(name, queries, n=1)
        cure = f"did you mean {close[0]!r}? " if close else ""
        raise QueryError(f"--name {name}", "no such named query", f"{cure}they are: {', '.join(queries)}")
    return queries[name]


def run_named(
    connection: duckdb.DuckDBPyConnection, name: str, params: Mapping[str, Value] | None = None
) -> duckdb.DuckDBPyRelation:
    """Run a named query with bound parameters; text such as `"20"` is read as the parameter's type.

    Raises:
        QueryError: an unknown query, an unknown, missing or malformed parameter, a trait that the run has not.
    """
    query = find_named_query(name)
    bound = bind_parameters(query, params or {})
    if "trait" in bound:
        _check_trait(connection, f"--name {name}", str(bound["trait"]))
    return run_query(connection, query.sql, bound)


def bind_parameters(query: NamedQuery, params: Mapping[str, Value]) -> dict[str, Value]:
    """Return a value of the right type for every parameter of `query`.

    Raises:
        QueryError: one is unknown, missing or malformed.
    """
    place = f"--name {query.name}"
    known = [parameter.name for parameter in query.parameters]
    for given in params:
        if given not in known:
            cure = f"it takes {', '.join(known)}" if known else "it takes none"
            raise QueryError(place, f"no parameter {given!r}", cure)
    bound: dict[str, Value] = {}
    for parameter in query.parameters:
        value = params.get(parameter.name, parameter.default)
        if value is None:
            raise QueryError(place, f"needs {parameter.name}, {parameter.meaning}", f"--param {parameter.name}=…")
        bound[parameter.name] = _read_value(place, parameter.name, parameter.type, value)
    return bound


def parse_query(name: str, text: str) -> NamedQuery:
    """Read a file of `sql/`.

    Raises:
        QueryError: a header line has another form.
    """
    description: list[str] = []
    parameters: list[Parameter] = []
    columns: list[Column] = []
    for raw in text.splitlines():
        if not raw.startswith("--"):
            break
        line = raw.removeprefix("--").strip()
        if match := _PARAMETER.fullmatch(line):
            default = None if match[3] is None else _read_value(name, match[1], match[2], match[3])
            parameters.append(Parameter(match[1], match[2], default, match[4]))
        elif match := _COLUMN.fullmatch(line):
            columns.append(Column(match[1], match[2] or "", match[3]))
        elif line.startswith(("param ", "column ")):
            raise QueryError(f"sql/{name}.sql", f"header line not understood: {line!r}", "see another file of sql/")
        else:
            description.append(line)
    return NamedQuery(name, " ".join(description), tuple(parameters), tuple(columns), text)


def _read_value(place: str, name: str, kind: str, value: Value) -> Value:
    if kind == "text":
        return str(value)
    try:
        return int(value) if kind == "integer" else float(value)
    except ValueError:
        raise QueryError(place, f"{name}={value!r} is no {kind}", f"--param {name}=<{kind}>") from None


def _check_trait(connection: duckdb.DuckDBPyConnection, place: str, trait: str) -> None:
    traits = list_traits(connection)
    if trait not in traits:
        close = difflib.get_close_matches(trait, traits, n=1)
        cure = f"did you mean {close[0]!r}? " if close else ""
        raise QueryError(place, f"this run has no trait {trait!r}", f"{cure}it has {', '.join(traits)}")
