"""Every distinct prompt of a run is answered once, in batches that neither kills nor the cache decide.

Pairs covered: generation-answers, generation-model, run-generation, shard-answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit import Run, ScanConfig, generation, scan
from audit.answers import describe_cache
from audit.errors import RunError
from audit.events import Event, PartWritten, StageAdvanced, StageStarted, Warned
from tests.datasets import chats, write_lines, write_vectors
from tests.models import model_path, one_thread, save_model

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")
SHARD = 16
N_ROWS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty rows, of which the last twenty repeat the first; vectors of two traits."""
    folder = tmp_path_factory.mktemp("generation")
    rows = chats(N_ROWS)
    write_lines(folder / "data.jsonl", [*rows, *rows[:20]])
    write_vectors(folder / "vectors", model_path("llama"))
    return folder


Batches = list[list[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Batches:
    """The prompts of every call of the model, with small shards."""
    batches: Batches = []
    answer: Callable[..., Any] = generation.answer_prompts

    def listen(model: Any, prompts: Sequence[str], **options: Any) -> Any:
        batches.append(list(prompts))
        return answer(model, prompts, **options)

    monkeypatch.setattr(generation, "answer_prompts", listen)
    monkeypatch.setattr(generation, "SHARD_PROMPTS", SHARD)
    return batches


def config(folder: Path, out: Path, **options: Any) -> ScanConfig:
    settings = {"max_new_tokens": 6, "shard_rows": 20, "model": str(model_path("llama")), "evidence": "off", **options}
    return ScanConfig(
        datasets=(str(folder / "data.jsonl"),), vectors=(str(folder / "vectors"),), out=str(out), **settings
    )


def scores(run: Run) -> pa.Table:
    return run.sql("SELECT * FROM scores ORDER BY ALL").to_arrow_table()


def counts(run: Run) -> dict[str, int]:
    baseline = run.summary()["baseline"]
    return {name: baseline[name] for name in ("n_prompts", "n_generated", "n_generated_tokens", "n_cached")}


def empty_half(cache_folder: Path) -> None:
    with closing(sqlite3.connect(cache_folder / "answers.sqlite")) as connection, connection:
        connection.execute("DELETE FROM answers WHERE rowid % 2 = 0")


def test_a_prompt_is_answered_once_over_the_whole_run(folder: Path, tmp_path: Path, asked: Batches) -> None:
    run = scan(config(folder, tmp_path / "run"))
    prompts = [prompt for batch in asked for prompt in batch]
    assert len(prompts) == len(set(prompts)) == counts(run)["n_prompts"] == N_ROWS + 14
    assert [len(batch) for batch in asked] == [16, 16, 16, 6]
    assert counts(run)["n_generated"] == len(prompts)
    assert counts(run)["n_generated_tokens"] > 0
    assert counts(run)["n_cached"] == 0
    assert not list(run.path.glob("answers.sqlite*"))


@pytest.mark.parametrize("other", [{"traits": ("sycophantic",)}, {"layer": 4}, {"shard_rows": 7}, {"nll": True}])
def test_a_second_scan_with_another_trait_or_layer_generates_nothing(
    folder: Path, tmp_path: Path, asked: Batches, other: dict[str, Any]
) -> None:
    first = scan(config(folder, tmp_path / "one", traits=("evil",)))
    asked.clear()
    second = scan(config(folder, tmp_path / "two", **other))
    assert asked == []
    wanted = {"n_prompts": 54, "n_generated": 0, "n_generated_tokens": 0, "n_cached": 54}
    assert counts(second) == wanted
    texts = "SELECT sample_id, turn, baseline_response FROM turns ORDER BY ALL"
    assert second.sql(texts).to_arrow_table().equals(first.sql(texts).to_arrow_table())


@pytest.mark.parametrize("other", [{"max_new_tokens": 7}, {"max_tokens": 200}, {"seed": 1}, {"dtype": "bfloat16"}])
def test_what_may_change_an_answer_is_another_key(
    folder: Path, tmp_path: Path, asked: Batches, other: dict[str, Any]
) -> None:
    scan(config(folder, tmp_path / "one"))
    asked.clear()
    assert counts(scan(config(folder, tmp_path / "two", **other)))["n_cached"] == 0
    assert asked


def test_a_model_whose_files_change_is_another_generator(folder: Path, tmp_path: Path, asked: Batches) -> None:
    model = save_model(tmp_path / "model", "llama")
    first = scan(config(folder, tmp_path / "one", model=str(model)))
    assert counts(first)["n_generated"] == 54
    # Same weights, and a word of its own to end a response with.
    settings = model / "generation_config.json"
    settings.write_text(settings.read_text().replace('"eos_token_id": 1', '"eos_token_id": [1, 7]'))
    assert counts(scan(config(folder, tmp_path / "two", model=str(model))))["n_cached"] == 0


def test_scores_are_the_same_with_a_cold_a_warm_a_half_filled_and_no_cache(
    folder: Path, tmp_path: Path, asked: Batches, cache_folder: Path
) -> None:
    bare = scan(config(folder, tmp_path / "bare", no_cache=True))
    batches = list(asked)
    assert not describe_cache(cache_folder / "answers.sqlite").exists
    cold = scan(config(folder, tmp_path / "cold"))
    warm = scan(config(folder, tmp_path / "warm"))
    empty_half(cache_folder)
    asked.clear()
    half = scan(config(folder, tmp_path / "half"))
    # A shard with one missing answer is generated whole: the batches are those of the first scan.
    assert asked == batches
    assert counts(half)["n_cached"] == counts(half)["n_generated"] == 27
    for run in (cold, warm, half):
        assert scores(run).equals(scores(bare))


def test_a_cached_answer_always_wins(folder: Path, tmp_path: Path, asked: Batches, cache_folder: Path) -> None:
    first = scan(config(folder, tmp_path / "one"))
    empty_half(cache_folder)
    answer = generation.answer_prompts

    def answer_otherwise(*words: Any, **options: Any) -> Any:
        return [replace(given, text="Something else.") for given in answer(*words, **options)]

    generation.answer_prompts = answer_otherwise  # type: ignore[assignment]  # `asked` puts it back
    second = scan(config(folder, tmp_path / "two"))
    texts = "SELECT DISTINCT baseline_response FROM turns"
    old, new = ({text for (text,) in run.sql(texts).fetchall()} for run in (first, second))
    assert "Something else." in new
    assert len(new & old) > 1


class Stop(KeyboardInterrupt):
    """The user has had enough."""


def stop_after(n_shards: int) -> Callable[[Event], None]:
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, StageAdvanced) and event.stage == "generating"
        if seen == n_shards:
            raise Stop

    return listen


@pytest.mark.parametrize("no_cache", [True, False])
def test_a_killed_scan_does_not_generate_finished_shards_again(
    folder: Path, tmp_path: Path, asked: Batches, no_cache: bool
) -> None:
    whole = scan(config(folder, tmp_path / "whole", no_cache=True))
    batches = list(asked)
    asked.clear()
    with pytest.raises(Stop):
        scan(config(folder, tmp_path / "cut", no_cache=no_cache), listener=stop_after(2))
    with pytest.raises(Stop):
        scan(config(folder, tmp_path / "cut", no_cache=no_cache), listener=stop_after(1))
    continued = scan(config(folder, tmp_path / "cut", no_cache=no_cache))
    assert asked == batches
    assert scores(continued).equals(scores(whole))
    assert counts(continued) == counts(whole)


def test_a_scan_killed_while_it_scores_generates_nothing_more(folder: Path, tmp_path: Path, asked: Batches) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, PartWritten):
            raise Stop

    with pytest.raises(Stop):
        scan(config(folder, tmp_path / "run", no_cache=True), listener=stop)
    asked.clear()
    run = scan(config(folder, tmp_path / "run", no_cache=True))
    assert asked == []
    assert (run.n_reused, counts(run)["n_generated"]) == (20, 54)


def test_starting_over_forgets_the_answers_of_the_run(folder: Path, tmp_path: Path, asked: Batches) -> None:
    with pytest.raises(Stop):
        scan(config(folder, tmp_path / "run", no_cache=True), listener=stop_after(2))
    asked.clear()
    scan(config(folder, tmp_path / "run", no_cache=True, fresh=True))
    assert len(asked) == 4


def test_a_damaged_answer_sheet_is_made_again_from_the_cache(folder: Path, tmp_path: Path, asked: Batches) -> None:
    with pytest.raises(Stop):
        scan(config(folder, tmp_path / "run"), listener=stop_after(2))
    (tmp_path / "run" / "answers.sqlite").write_bytes(b"damage" * 1000)
    asked.clear()
    run = scan(config(folder, tmp_path / "run"))
    assert len(asked) == 2
    assert counts(run)["n_cached"] == 32


@pytest.mark.parametrize("harm", ["damaged", "no directory"])
def test_a_cache_that_does_not_work_is_a_warning(
    folder: Path, tmp_path: Path, cache_folder: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if harm == "damaged":
        (cache_folder / "answers.sqlite").write_bytes(b"damage" * 1000)
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("PERSONA_AUDIT_CACHE", str(tmp_path / "file" / "cache"))
    heard: list[Event] = []
    run = scan(config(folder, tmp_path / "run"), listener=heard.append)
    (warning,) = [event.message for event in heard if isinstance(event, Warned)]
    assert "goes on without the cache" in warning
    assert counts(run)["n_generated"] == 54


def test_a_cache_that_breaks_in_the_middle_is_one_warning(
    folder: Path, tmp_path: Path, asked: Batches, cache_folder: Path
) -> None:
    heard: list[Event] = []

    def break_cache(event: Event) -> None:
        heard.append(event)
        if isinstance(event, StageAdvanced) and event.stage == "generating":
            for file in cache_folder.iterdir():
                file.write_bytes(b"damage" * 10_000)

    run = scan(config(folder, tmp_path / "run"), listener=break_cache)
    assert len([event for event in heard if isinstance(event, Warned)]) == 1
    assert len(asked) == 4
    assert counts(run)["n_prompts"] == counts(run)["n_generated"] == 54


def test_a_cache_too_small_for_a_run_costs_nothing_but_reuse(
    folder: Path, tmp_path: Path, asked: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE_SIZE", "1000")
    first = scan(config(folder, tmp_path / "one"))
    assert counts(first)["n_generated"] == 54
    assert scores(scan(config(folder, tmp_path / "two"))).equals(scores(first))


def test_progress_counts_distinct_prompts(folder: Path, tmp_path: Path, asked: Batches) -> None:
    heard: list[Event] = []
    scan(config(folder, tmp_path / "run"), listener=heard.append)
    (started,) = [event for event in heard if isinstance(event, StageStarted) and event.stage == "generating"]
    assert (started.total, started.unit, started.done) == (54, "prompts", 0)
    assert sum(event.n for event in heard if isinstance(event, StageAdvanced) and event.stage == "generating") == 54


def test_the_agreement_of_the_cheap_baseline_uses_the_cache_too(folder: Path, tmp_path: Path, asked: Batches) -> None:
    first = scan(config(folder, tmp_path / "one", baseline="prompt"))
    assert counts(first)["n_generated"] == 54
    asked.clear()
    second = scan(config(folder, tmp_path / "two", baseline="prompt"))
    assert asked == []
    assert second.manifest["baseline"]["agreement"] == first.manifest["baseline"]["agreement"]
    assert None not in first.manifest["baseline"]["agreement"].values()


def test_without_a_generated_baseline_nothing_is_counted(folder: Path, tmp_path: Path, asked: Batches) -> None:
    assert set(counts(scan(config(folder, tmp_path / "run", baseline="none"))).values()) == {None}
    assert asked == []


def test_a_turn_that_cannot_be_scored_is_not_answered(tmp_path: Path, asked: Batches) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "  "}]} for i in "ab"]
    write_lines(tmp_path / "data.jsonl", [*rows, *chats(2)])
    write_vectors(tmp_path / "vectors", model_path("llama"))
    assert counts(scan(config(tmp_path, tmp_path / "run")))["n_prompts"] == 3


def test_data_that_changes_after_the_answers_is_noticed(tmp_path: Path, asked: Batches) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(30))
    write_vectors(tmp_path / "vectors", model_path("llama"))

    def change(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "scoring":
            data.write_text(data.read_text().replace("bread", "toast"))

    with pytest.raises(RunError, match="changed since the scan began"):
        scan(config(tmp_path, tmp_path / "run"), listener=change)


def test_a_model_that_nothing_identifies_is_not_cached(folder: Path, tmp_path: Path, cache_folder: Path) -> None:
    run = scan(config(folder, tmp_path / "run"))
    assert counts(run)["n_generated"] == 54
    generator = generation.Generator("me", {"files": None, "fingerprint": {"weights_sha256": None}})
    assert not generation.is_identified(generator)
    for files, weights in ((None, "a"), ("b", None)):
        known = generation.Generator("me", {"files": files, "fingerprint": {"weights_sha256": weights}})
        assert generation.is_identified(known)
