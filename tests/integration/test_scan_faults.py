"""A scan on which the device or the model's type is too small: said, mended where it can be, and no row is lost.

Pairs covered: shard-model.hidden, parts-shard, shard-model.batches.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from audit import Run, ScanConfig, plan, scan
from audit.events import Event, Warned
from audit.model.load import LoadedModel
from tests import models
from tests.datasets import chat, chats, write_lines, write_vectors

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

FAMILY = "llama"
LOUD = "@"
ROWS = [*chats(6), chat("What is this?", "An @ sign."), chat("Say @.", "No."), chat("Why?", "Because.")]
HIT = {6, 7}


@pytest.fixture
def scan_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    write_vectors(tmp_path / "vectors", models.model_path(FAMILY))
    write_lines(tmp_path / "data.jsonl", ROWS)
    write_lines(tmp_path / "ready.jsonl", ROWS[:-1])
    load = plan.load_model

    def run(
        name: str, events: list[Event] | None = None, *, spoil: Callable[[LoadedModel], object] | None, **options: Any
    ) -> Run:
        def load_spoilt(**arguments: Any) -> LoadedModel:
            model = load(**arguments)
            if spoil is not None:
                spoil(model)
            return model

        monkeypatch.setattr(plan, "load_model", load_spoilt)
        settings = {"baseline": str(tmp_path / "ready.jsonl"), "dtype": "bfloat16", "evidence": "off", **options}
        config = ScanConfig(
            datasets=(str(tmp_path / "data.jsonl"),),
            out=str(tmp_path / name),
            model=str(models.model_path(FAMILY)),
            vectors=(str(tmp_path / "vectors"),),
            **settings,
        )
        return scan(config, listener=ignore if events is None else events.append)

    return run


def ignore(event: Event) -> None:
    """Listen to nothing."""


def shout(*, only_narrow: bool) -> Callable[[LoadedModel], object]:
    """Let the embedding of one token overflow."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(models.model_path(FAMILY))
    (loud,) = tokenizer(LOUD, add_special_tokens=False)["input_ids"]

    def overflow(_: object, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if only_narrow and output.dtype is torch.float32:
            return output
        return output.masked_fill((arguments[0] == loud)[..., None], float("nan"))

    return lambda model: model.module.get_input_embeddings().register_forward_hook(overflow)


def rows_of(run: Run, query: str) -> list[tuple[Any, ...]]:
    return run.sql(query).fetchall()


SCORES = "SELECT sample_id, turn, trait, projection, projection_difference FROM scores ORDER BY ALL"


def test_what_is_not_finite_in_bfloat16_is_run_in_float32_and_said_once(scan_rows: Callable[..., Run]) -> None:
    events: list[Event] = []
    calm = scan_rows("calm", spoil=None)
    found = scan_rows("loud", events, spoil=shout(only_narrow=True), shard_rows=7)
    assert rows_of(found, "SELECT DISTINCT status FROM samples") == [("ok",)]
    (warning,) = [event.message for event in events if isinstance(event, Warned) and "float32" in event.message]
    assert "not finite in bfloat16" in warning
    assert found.manifest["n_widened_turns"] == len(HIT)
    assert any("2 turns were run in float32" in notice for notice in found.manifest["notices"])
    assert calm.manifest["n_widened_turns"] == 0
    for own, other in zip(rows_of(found, SCORES), rows_of(calm, SCORES), strict=True):
        assert own[:3] == other[:3]
        assert own[3] == (pytest.approx(other[3], abs=0.2) if own[0] in HIT else other[3])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_not_finite_at_all_is_a_skipped_row_with_a_reason(scan_rows: Callable[..., Run], dtype: str) -> None:
    calm = scan_rows("calm", spoil=None, dtype=dtype)
    found = scan_rows("loud", spoil=shout(only_narrow=False), dtype=dtype)
    assert [row for row in rows_of(calm, SCORES) if row[0] not in HIT] == rows_of(found, SCORES)
    skipped = rows_of(found, "SELECT sample_id, reason FROM samples WHERE status = 'skipped' ORDER BY ALL")
    tail = "bfloat16, nor in float32" if dtype == "bfloat16" else "float32"
    assert skipped == [(row, f"overflow: the hidden states are not finite in {tail}") for row in sorted(HIT)]
    assert found.summary()["counts"]["n_samples"] == len(ROWS)


def test_running_out_of_memory_in_a_shard_changes_no_score(
    scan_rows: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    roomy = scan_rows("roomy", spoil=None)
    ((longest,),) = rows_of(roomy, "SELECT max(n_prompt_tokens + n_response_tokens) FROM turns")
    # Packs are filled up to a multiple of 64.
    longest = -(-longest // 64) * 64

    def shrink(model: LoadedModel) -> None:
        forward = model.blocks[1].forward

        def run(states: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            sizes.append(states.shape[1])
            if states.shape[1] > longest:
                raise torch.OutOfMemoryError
            return forward(states, *arguments, **options)

        monkeypatch.setattr(model.blocks[1], "forward", run)

    tight = scan_rows("tight", spoil=shrink)
    assert max(sizes) > longest
    assert rows_of(tight, SCORES) == rows_of(roomy, SCORES)
    assert rows_of(tight, "SELECT * FROM turns ORDER BY ALL") == rows_of(roomy, "SELECT * FROM turns ORDER BY ALL")
