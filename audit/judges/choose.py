"""The judge that a user named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.errors import ConfigError
from audit.events import Listener, ignore_events
from audit.judges.nobody import NoJudge
from audit.judges.server import N_CONCURRENT, connect_judge
from audit.traits import Judge

if TYPE_CHECKING:
    from audit.model.load import LoadedModel

JUDGE_KINDS = ("server", "self", "demo", "none")


def make_judge(
    kind: str,
    *,
    url: str | None = None,
    server_model: str | None = None,
    timeout_s: float = 300.0,
    n_concurrent: int = N_CONCURRENT,
    model: LoadedModel | None = None,
    batch_tokens: int = 8192,
    demo: Judge | None = None,
    listener: Listener = ignore_events,
) -> Judge:
    """Make a judge of a kind.

    Args:
        url, server_model, timeout_s, n_concurrent: of `server`.
        model, batch_tokens: of `self`.
        demo: the demo world's own judge, which this room does not know.

    Raises:
        ConfigError: there is no such kind, or what it needs is missing.
        ServerError: the server does not answer.
    """
    if kind == "server":
        if url is None:
            raise ConfigError("--judge server", "no server is named", "name it with --judge-server URL")
        return connect_judge(url, model=server_model, timeout_s=timeout_s, n_concurrent=n_concurrent, listener=listener)
    if url is not None or server_model is not None:
        option = "--judge-server" if url is not None else "--judge-model"
        raise ConfigError(option, f"--judge {kind} asks no server", "leave it out, or say --judge server")
    if kind == "none":
        return NoJudge()
    if kind == "self" and model is not None:
        # Brings torch, which no other judge needs.
        from audit.judges.model import SelfJudge

        return SelfJudge(model, batch_tokens=batch_tokens, listener=listener)
    if kind == "demo" and demo is not None:
        return demo
    if kind in JUDGE_KINDS:
        missing = "the audited model" if kind == "self" else "the demo world"
        raise ConfigError(f"--judge {kind}", f"{missing} is not at hand", "choose another judge")
    raise ConfigError("--judge", f"there is no judge {kind!r}", f"choose {', '.join(JUDGE_KINDS)}")
