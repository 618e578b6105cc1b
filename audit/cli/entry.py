"""The entry point: all commands in order, and what becomes of an error, an interrupt and a closed pipe."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any

import click

from audit.cli.cache import cache
from audit.cli.check import check
from audit.cli.compare import compare
from audit.cli.completion import completion
from audit.cli.doctor import doctor
from audit.cli.export import export
from audit.cli.formats import formats
from audit.cli.judge import judge
from audit.cli.query import query
from audit.cli.scan import scan
from audit.cli.show import show
from audit.cli.summary import summary
from audit.cli.traits import traits
from audit.cli.validate import validate
from audit.cli.vectors import vectors
from audit.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USER, AuditError

PROGRAM = "persona-audit"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class RootGroup(click.Group):
    """The root: lists commands in the order of work and turns what is raised into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; only bugs leave a traceback."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except AuditError as error:
            _complain(f"Error: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            is_kept = ctx.invoked_subcommand in ("scan", "judge")
            _complain("Interrupted." + (" What is finished is kept: the same command continues." if is_kept else ""))
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has seen enough; keep the interpreter from complaining when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_OK)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - this is where bugs end
            if isinstance(error, OSError) and error.errno in _FULL_DISK:
                place = error.filename or "the disk"
                _complain(f"Error: {place}: {error.strerror} (make room; what is finished is kept)")
                ctx.exit(EXIT_USER)
            traceback.print_exc()
            _complain(
                f"\nThis is a bug in {PROGRAM}. Please report it in the project's issue tracker, with the lines above "
                f"and the output of `{PROGRAM} doctor`."
            )
            ctx.exit(EXIT_BUG)
        return result


def _complain(message: str) -> None:
    from audit.cli.text import neutralise

    click.echo(neutralise(message), err=True)


def _show_version(ctx: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not ctx.resilient_parsing:
        from audit import __version__

        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=RootGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 finished; 1 finished and --fail-on was met; 2 something you can fix; 70 a bug; "
    "130 interrupted.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Find the samples of a fine-tuning dataset that would change a model's character, before you train.

    \b
    Start with:
      persona-audit scan data.jsonl
      persona-audit show data.audit --top evil
      persona-audit export data.audit --output clean.jsonl --rejected flagged.jsonl
      persona-audit compare old.audit new.audit
    """


for _command in (
    scan,
    summary,
    query,
    show,
    validate,
    judge,
    export,
    compare,
    check,
    traits,
    vectors,
    formats,
    cache,
    doctor,
    completion,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, not a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    cli(prog_name=PROGRAM)


def _interrupt(number: int, _: FrameType | None) -> None:
    """End as Ctrl-C does, so that unfinished files are removed; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
