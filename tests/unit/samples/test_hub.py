"""An id of the hub is fetched through `datasets`; what goes wrong there is said in a line, with a cure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets.exceptions import DatasetNotFoundError

from audit.errors import DataError, MissingDataError
from audit.samples import Sample, hash_source, read_samples, survey_source


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A hub whose every dataset has the splits train and test; the ids and configs that were asked for."""
    load, asked = datasets.load_dataset, []
    files = {}
    for split in ("train", "test"):
        rows = [{"prompt": "a", "completion": f"{split} {n}"} for n in range(3)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[split] = str(tmp_path / f"{split}.jsonl")

    def load_local(path: str, name: str | None = None, **options: Any) -> Any:
        asked.append((path, name))
        chosen = {"train": files["train"]} if name == "small" else files
        return load("json", data_files=chosen, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(datasets, "load_dataset", load_local)
    return asked


def test_a_hub_dataset_is_read_from_the_files_that_datasets_keeps(hub: list[tuple[str, str | None]]) -> None:
    source = survey_source("someone/chats", split="test")
    assert (source.path, source.container, source.split) == ("someone/chats", "arrow", "test")
    assert [s.turns[0].response for s in read_samples(source) if isinstance(s, Sample)] == [
        "test 0",
        "test 1",
        "test 2",
    ]
    assert hash_source(source) == source.sha256
    assert hub == [("someone/chats", None)]


def test_a_config_stands_behind_a_colon_and_the_only_split_is_taken(hub: list[tuple[str, str | None]]) -> None:
    assert survey_source("someone/chats:small").split == "train"
    assert hub == [("someone/chats", "small")]


def test_several_splits_are_named_so_that_one_can_be_chosen(hub: list[tuple[str, str | None]]) -> None:
    with pytest.raises(DataError, match=r"someone/chats: has several splits: train, test \(choose one with --split"):
        survey_source("someone/chats")


@pytest.mark.parametrize(
    ("error", "finding", "cure"),
    [
        (
            DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub"),
            "no such file, and no dataset",
            "check the path",
        ),
        (DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub."), "gated", "hf auth login"),
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "Couldn't reach", "HF_HUB_OFFLINE"),
        (
            ValueError("Config name is missing.\nPlease pick one among: ['x', 'y']"),
            r"pick one among: \['x', 'y'\]",
            "CONFIG",
        ),
        (RuntimeError("Dataset scripts are no longer supported"), "scripts", "download"),
    ],
)
def test_a_failure_is_one_line_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, error: Exception, finding: str, cure: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises((DataError, MissingDataError), match=finding) as caught:
        survey_source("a/b")
    assert "\n" not in str(caught.value)
    assert cure in caught.value.cure


@pytest.mark.slow
def test_without_a_network_the_error_says_so_in_one_line() -> None:
    code = "from audit.samples import survey_source; survey_source('no-such-org/no-such-dataset')"
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingDataError: no-such-org/no-such-dataset: no such file; as a dataset of the Hugging Face hub: " in last
    assert "HF_HUB_OFFLINE" in last


@pytest.mark.parametrize("path", ["data/absent.jsonl", "./org/name", "a/b/c", "absent", "data/absent.csv.gz"])
def test_what_looks_like_a_file_is_not_looked_for_on_the_hub(path: str) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        survey_source(path)


def test_reading_samples_imports_neither_datasets_nor_torch() -> None:
    code = "import sys, audit.samples; print({'datasets', 'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
