"""`persona-audit traits write`: a chat model drafts a trait specification from one line, for a person to edit."""

from __future__ import annotations

import re

import click

from audit.cli.options import json_option
from audit.cli.text import neutralise
from audit.errors import ConfigError

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")


@click.command(
    "write",
    short_help="Have a model draft a trait specification.",
    epilog="""\b
Examples:
  persona-audit traits write flattery --description "Praises whatever the user does." \\
      --server http://localhost:8000 --llm Qwen/Qwen2.5-7B-Instruct
  persona-audit traits write pessimism --description "Expects the worst." --server https://api.openai.com \\
      --llm gpt-4.1-mini --output traits/pessimism.toml

An API key is read from PERSONA_AUDIT_API_KEY or OPENAI_API_KEY.
""",
)
@click.argument("name", metavar="NAME")
@click.option("--description", metavar="TEXT", required=True, help="The trait in one line.")
@click.option("--server", metavar="URL", required=True, help="An OpenAI-compatible server with chat completions.")
@click.option("--llm", metavar="MODEL", help="The model on it that writes. Default: its only one.")
@click.option("--output", metavar="FILE", type=click.Path(), help="Where to write. Default: NAME.toml.")
@click.option("--language", metavar="TAG", default="en", show_default=True, help="Of prompts and questions.")
@click.option("--server-timeout", type=float, default=300.0, show_default=True, metavar="S", help="Of one answer.")
@click.option(
    "--max-tokens", type=click.IntRange(min=64), default=4096, show_default=True, metavar="N", help="Of one answer."
)
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def write_trait(
    name: str,
    *,
    description: str,
    server: str,
    llm: str | None,
    output: str | None,
    language: str,
    server_timeout: float,
    max_tokens: int,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Have a chat model draft a trait specification: five pairs of system prompts, 40 questions, a rubric.

    The model is asked in small pieces, and again for what is missing or cannot be used. Read the result before you
    use it. Exit 2 if it stays incomplete; what there is then lies in FILE.draft.
    """
    from pathlib import Path

    from audit.cli.progress import listening
    from audit.drafting import Subject, check_place, write_draft
    from audit.schema import is_trait_name
    from audit.server import connect_chat

    subject = Subject(name, " ".join(description.split()), language)
    if not is_trait_name(name):
        raise ConfigError(f"NAME {name!r}", "is no trait name", "use lower-case letters, digits and _, as in bad_faith")
    if not subject.description:
        raise ConfigError("--description", "is empty", "say in one line what the trait is")
    if not _LANGUAGE.fullmatch(language):
        raise ConfigError("--language", f"{language!r} is no language tag", "write it as en, de or pt-BR")
    if not server_timeout > 0:
        raise ConfigError("--server-timeout", f"{server_timeout:g} s is no time", "name a positive number of seconds")
    path = Path(output or f"{name}.toml")
    # Before the server is asked: each of its answers may cost something.
    check_place(path, is_forced=force)
    chat = connect_chat(server, model=llm, timeout_s=server_timeout)
    with listening(is_quiet=quiet) as listener:
        drafted = write_draft(chat, subject, path, is_forced=force, max_tokens=max_tokens, listener=listener)
    spec = drafted.spec
    counts = {
        "n_pairs": len(spec.pairs),
        "n_extraction_questions": len(spec.extraction_questions),
        "n_evaluation_questions": len(spec.evaluation_questions),
        "n_requests": drafted.n_requests,
        "n_dropped": drafted.n_dropped,
    }
    if as_json:
        import json

        written = {"path": str(path), "trait": spec.name, "llm": chat.model, "digest": spec.digest}
        click.echo(json.dumps(written | counts))
        return
    n_questions = counts["n_extraction_questions"] + counts["n_evaluation_questions"]
    click.echo(neutralise(f"{path}: {counts['n_pairs']} pairs, {n_questions} questions, drafted by {chat.model}"))
    click.echo(f"{counts['n_requests']} requests; {counts['n_dropped']} items could not be used")
    click.echo("Read and edit it before you extract a vector: a model wrote it.")
