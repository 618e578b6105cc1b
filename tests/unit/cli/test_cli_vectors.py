"""`vectors list | show | check` on files made here; the fit to a real model is tested with the models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audit.vectors import PersonaVector, save_vector
from tests.unit.cli.conftest import Ask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, trait in enumerate(("evil", "sycophantic")):
        vector_ld = np.full((5, 8), 0.5 + number, dtype=np.float32)
        vector = PersonaVector(
            trait, vector_ld, layer=2, model_id="tiny \x1b[31m", fingerprint=None, details={"seed": 1}
        )
        save_vector(tmp_path / f"{trait}.safetensors", vector)
    return tmp_path


def test_the_list_names_trait_layer_model_and_file(folder: Path, ask: Ask) -> None:
    result = ask("vectors", "list", folder)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert str(folder / "sycophantic.safetensors") in result.stdout
    found = json.loads(ask("vectors", "list", folder, "--json").stdout)
    assert [(vector["trait"], vector["layer"], vector["n_layers"]) for vector in found] == [
        ("evil", 2, 4),
        ("sycophantic", 2, 4),
    ]


def test_a_broken_file_is_named_and_the_others_are_listed(folder: Path, ask: Ask) -> None:
    (folder / "broken.safetensors").write_bytes(b"junk")
    result = ask("vectors", "list", folder)
    assert result.exit_code == 2
    assert "(2 rows)" in result.stdout
    assert "cannot be used" in result.stderr
    assert "broken.safetensors" in result.stderr


def test_show_prints_the_norm_at_every_layer(folder: Path, ask: Ask) -> None:
    text = ask("vectors", "show", folder / "evil.safetensors").stdout
    assert "2*      1.414" in text
    assert len(json.loads(ask("vectors", "show", folder / "evil.safetensors", "--json").stdout)["norms"]) == 5


def test_check_accepts_good_files_and_says_what_was_not_checked(folder: Path, ask: Ask) -> None:
    result = ask("vectors", "check", folder)
    assert result.exit_code == 0
    assert "fit to a model not checked" in result.stdout
    assert "no report" in result.stdout


@pytest.mark.parametrize(
    "words", [["check", "nothing.safetensors"], ["show", "nothing"], ["list", "nowhere"], ["check"]]
)
def test_missing_files_exit_2(ask: Ask, words: list[str]) -> None:
    assert ask("vectors", *words).exit_code == 2


def test_check_refuses_a_vector_with_nan(folder: Path, ask: Ask) -> None:
    path = folder / "evil.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-4] + np.float32("nan").tobytes())
    result = ask("vectors", "check", path)
    assert result.exit_code == 2
    assert "NaN" in result.stderr
