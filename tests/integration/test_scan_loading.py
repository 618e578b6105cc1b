"""What a scan keeps of its model in memory: only what its settings need, and one copy of it.

Pairs covered: plan-model.load, run-domain, model.generate-model.hidden.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from audit import Run, ScanConfig, plan, scan
from audit.events import Event, Noted
from audit.model.load import LoadedModel
from tests import models
from tests.datasets import chats, write_lines, write_vectors

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

FAMILY = "llama"
TOP = 3
"""The highest layer that the vectors of these tests are scored at."""


class Watched:
    """The models that a scan loads, and what it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[LoadedModel] = []
        self.events: list[Event] = []
        self.n_reads = 0
        load, read = plan.load_model, transformers.PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

        def keep(**options: Any) -> LoadedModel:
            self.loaded.append(load(**options))
            return self.loaded[-1]

        def count(*arguments: Any, **options: Any) -> Any:
            self.n_reads += 1
            return read(*arguments, **options)

        monkeypatch.setattr(plan, "load_model", keep)
        monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(count))

    @property
    def model(self) -> LoadedModel:
        (model,) = self.loaded
        return model


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    write_vectors(tmp_path / "vectors", models.model_path(FAMILY))
    write_lines(tmp_path / "data.jsonl", chats(9))
    return Watched(monkeypatch)


def run_scan(folder: Path, watched: Watched, name: str, **options: Any) -> Run:
    settings = {"max_new_tokens": 4, "no_cache": True, "evidence": "off", **options}
    config = ScanConfig(
        datasets=(str(folder / "data.jsonl"),),
        out=str(folder / name),
        model=str(models.model_path(FAMILY)),
        vectors=(str(folder / "vectors"),),
        **settings,
    )
    return scan(config, listener=watched.events.append)


def column(run: Run, name: str, table: str) -> list[Any]:
    return [value for (value,) in run.sql(f"SELECT {name} FROM {table} ORDER BY ALL").fetchall()]


@pytest.mark.parametrize("baseline", ["none", "data.jsonl"])
def test_a_scan_that_only_scores_never_loads_what_it_does_not_run(
    tmp_path: Path, watched: Watched, baseline: str
) -> None:
    baseline = baseline if baseline == "none" else str(tmp_path / baseline)
    part = run_scan(tmp_path, watched, "part", baseline=baseline)
    assert (watched.model.n_loaded, watched.model.n_layers) == (TOP, models.N_LAYERS)
    assert [sum(1 for _ in block.parameters()) > 0 for block in watched.model.blocks] == [True] * TOP + [False] * 2
    assert not list(watched.model.module.get_output_embeddings().parameters())
    assert part.manifest["model"]["forward"]["blocks"] == "1-3 of 5"
    assert set(column(part, "response_nll", "turns")) == {None}
    assert part.manifest["domain"]["mean_nll"] is None
    (said,) = [event.message for event in watched.events if isinstance(event, Noted) and "--nll" in event.message]
    assert said in part.manifest["notices"]

    watched.loaded.clear()
    whole = run_scan(tmp_path, watched, "whole", baseline=baseline, nll=True)
    assert watched.model.is_whole
    assert None not in column(whole, "response_nll", "turns")
    for name in ("projection", "baseline_projection", "prompt_projection"):
        assert column(part, name, "scores") == column(whole, name, "scores")


@pytest.mark.parametrize("baseline", ["generate", "prompt"])
def test_a_scan_that_generates_holds_one_copy_of_the_whole_model(
    tmp_path: Path, watched: Watched, baseline: str
) -> None:
    run = run_scan(tmp_path, watched, "run", baseline=baseline)
    assert watched.n_reads == 1
    assert watched.model.is_whole
    assert run.manifest["domain"]["mean_nll"] > 0
    assert np.isfinite(column(run, "projection_difference", "scores")).all()


def test_a_continued_scan_loads_the_same_part(tmp_path: Path, watched: Watched) -> None:
    done = run_scan(tmp_path, watched, "run", baseline="none", shard_rows=4)
    wanted = column(done, "projection", "scores")
    for table in ("samples", "turns", "scores", "differences"):
        for file in sorted((done.path / table).glob("*.parquet"))[1:]:
            file.unlink()
    manifest = done.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state": "finished"', '"state": "running"'))
    watched.loaded.clear()
    again = run_scan(tmp_path, watched, "run", baseline="none", shard_rows=4)
    assert again.n_reused == 4
    assert watched.model.n_loaded == TOP
    assert column(again, "projection", "scores") == wanted
