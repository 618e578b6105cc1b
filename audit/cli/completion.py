"""`persona-audit completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    short_help="Print a shell completion script.",
    epilog="""\b
Examples:
  persona-audit completion bash > ~/.local/share/bash-completion/completions/persona-audit
  persona-audit completion zsh > ~/.zfunc/_persona-audit
  persona-audit completion fish > ~/.config/fish/completions/persona-audit.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    For the running shell only: eval "$(persona-audit completion bash)"
    """
    source = get_completion_class(shell)
    assert source is not None
    root = ctx.find_root().command
    click.echo(source(root, {}, "persona-audit", "_PERSONA_AUDIT_COMPLETE").source())
