"""`persona-audit query`: SQL over a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from audit.errors import ConfigError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from audit.query import NamedQuery

FORMATS = ("table", "json", "csv", "parquet")

_SUFFIXES = (".json", ".csv", ".parquet")
_LOOK_EVERY_S = 0.2


def _complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from audit.query import named_queries

    queries = named_queries().values()
    return [
        CompletionItem(query.name, help=query.description) for query in queries if query.name.startswith(incomplete)
    ]


@click.command(
    short_help="Run SQL over a run.",
    epilog="""\b
Examples:
  persona-audit query demo.audit "SELECT * FROM sample_scores ORDER BY evil DESC LIMIT 10"
  persona-audit query demo.audit "DESCRIBE sample_scores"
  persona-audit query demo.audit --name top_by_trait --param trait=evil --param n=5
  persona-audit query demo.audit --name flagged --format csv --output flagged.csv
  persona-audit query --list
""",
)
@click.argument("run", metavar="RUN", type=click.Path(), required=False)
@click.argument("sql", metavar="SQL", required=False)
@click.option("--name", metavar="NAME", shell_complete=_complete_name, help="Run a named query instead of SQL.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Parameter of the named query. Can be repeated.")
@click.option("--list", "is_list", is_flag=True, help="List the named queries with their parameters and columns.")
@click.option("--format", type=click.Choice(FORMATS), help="Default: table, or what the suffix of --output says.")
@click.option("--output", metavar="FILE", type=click.Path(), help="Write to FILE.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def query(
    run: str | None,
    sql: str | None,
    *,
    name: str | None,
    params: tuple[str, ...],
    is_list: bool,
    format: str | None,
    output: str | None,
    force: bool,
) -> None:
    """Run one read-only SQL statement (DuckDB) over RUN.

    \b
    Relations:
      samples          one row per record of the input
      turns            one row per assistant turn, scored or not
      scores           one row per turn and trait
      turn_scores      scores that count for a record
      random_evidence  one row per turn and layer
      sample_scores    one row per record, one column per trait
      flags            one row per record and trait
      clusters         one row per clustered record
      cluster_summary  one row per cluster
      near_duplicates  one row per record near a flagged one
      unnamed_directions  one row per direction no trait explains
      verdicts         one row per trait
      judge            one row per record and trait that an LLM judged

    A printed table shows the first 100 rows; json, csv, parquet and an --output hold all of them.
    """
    from audit.query import named_queries, open_connection, run_named, run_query

    if is_list:
        _print_queries(named_queries().values())
        return
    if run is None:
        raise ConfigError("RUN", "no run directory given", "persona-audit query RUN SQL, or --list")
    if (sql is None) == (name is None):
        finding = "no query given" if sql is None else "SQL and --name exclude each other"
        raise ConfigError("query", finding, 'persona-audit query RUN "SELECT …", or --name NAME (--list shows them)')
    if params and name is None:
        raise ConfigError("--param", "belongs to --name", "write the value into the SQL")
    chosen = _choose_format(format, output)

    from audit.cli.results import open_output, write_result

    with open_connection(run) as connection:
        relation = (
            run_query(connection, sql) if sql is not None else run_named(connection, str(name), _read_params(params))
        )
        with open_output(output, chosen, overwrite=force) as stream:
            _run_interruptible(lambda: write_result(relation, chosen, stream, is_limited=output is None), connection)


def _run_interruptible(work: Callable[[], None], connection: DuckDBPyConnection) -> None:
    """Run `work` beside the main thread, which stays free to see Ctrl-C: inside DuckDB it would be noticed late."""
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            while not wait([future], timeout=_LOOK_EVERY_S).done:
                pass
        except KeyboardInterrupt:
            connection.interrupt()
            raise
    future.result()


def _choose_format(format: str | None, output: str | None) -> str:
    if format is not None or output is None:
        return format or "table"
    suffix = Path(output).suffix.lower()
    if suffix not in _SUFFIXES:
        finding = f"{suffix!r} names no format" if suffix else "has no suffix that names a format"
        raise ConfigError(f"--output {output}", finding, f"end it in {', '.join(_SUFFIXES)}, or give --format")
    return suffix.removeprefix(".")


def _read_params(params: Iterable[str]) -> dict[str, str]:
    read: dict[str, str] = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals:
            raise ConfigError(f"--param {param}", "has no value", "write --param name=value")
        read[name.strip()] = value
    return read


def _print_queries(queries: Iterable[NamedQuery]) -> None:
    for query in queries:
        click.echo(f"{query.name}\n    {query.description}")
        for parameter in query.parameters:
            default = "" if parameter.default is None else f", default {parameter.default}"
            click.echo(f"    --param {parameter.name}=<{parameter.type}>  {parameter.meaning}{default}")
        click.echo(f"    columns: {', '.join(column.name for column in query.columns)}\n")
