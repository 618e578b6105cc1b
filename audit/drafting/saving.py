"""A draft as a file: complete under its name, unfinished beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from audit.drafting.asks import Subject
from audit.drafting.draft import MAX_TOKENS, Drafted, draft_trait
from audit.errors import ConfigError, TraitError
from audit.events import Listener, Noted, ignore_events
from audit.server import ChatServer
from audit.store import write_bytes
from audit.traits import TraitSpec, check_spec, render_toml, write_spec

DRAFT_SUFFIX = ".draft"


def write_draft(
    server: ChatServer,
    subject: Subject,
    path: Path,
    *,
    is_forced: bool = False,
    max_tokens: int = MAX_TOKENS,
    listener: Listener = ignore_events,
) -> Drafted:
    """Have a model draft a specification and write it; an unfinished one goes to `path` with `.draft`.

    Raises:
        ConfigError: there is a file, and nothing may overwrite it.
        TraitError: something is still missing, or the file cannot be written.
        ServerError: the server refuses every request, or has stopped answering; what there was is kept.
    """
    unfinished = path.with_name(path.name + DRAFT_SUFFIX)
    check_place(path, is_forced=is_forced)

    def keep(drafted: Drafted) -> None:
        if not drafted.is_empty:
            save_draft(unfinished, drafted.spec)
            listener(Noted(f"what was drafted so far lies in {unfinished}"))

    drafted = draft_trait(server, subject, max_tokens=max_tokens, keep=keep, listener=listener)
    if drafted.missing:
        keep(drafted)
        finding = f"the draft lacks {', '.join(drafted.missing)} after {drafted.n_requests} requests"
        finding += f"; of the last reply: {drafted.complaint}" if drafted.complaint else ""
        other = "ask another model with --llm, or describe the trait in other words"
        cure = other if drafted.is_empty else f"complete {unfinished} by hand, or {other}"
        raise TraitError(subject.name, finding, cure)
    spec = write_spec(path, drafted.spec, overwrite=is_forced)
    unfinished.unlink(missing_ok=True)
    for remark in check_spec(spec):
        listener(Noted(f"{path}: {remark.text}"))
    return replace(drafted, spec=spec)


def check_place(path: Path, *, is_forced: bool) -> None:
    """See that a draft can be written, before anything is asked.

    Raises:
        ConfigError: there is a file, or no such directory.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"--output {path}", "there is no such directory", "make it, or choose another --output")
    for place in (path, path.with_name(path.name + DRAFT_SUFFIX)):
        if place.is_dir() or (place.exists() and not is_forced):
            finding = "is a directory" if place.is_dir() else "is there already"
            raise ConfigError(f"--output {place}", finding, "choose another --output, or overwrite it with --force")


def save_draft(path: Path, spec: TraitSpec) -> None:
    """Write an unfinished specification as TOML, at once or not at all.

    Raises:
        TraitError: the file cannot be written.
    """
    try:
        write_bytes(path, render_toml(spec).encode())
    except OSError as error:
        raise TraitError(str(path), f"cannot be written: {error.strerror}", "choose another --output") from error
