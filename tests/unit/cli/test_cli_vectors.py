"""`vectors list | show | check | add` on files made here; the fit to a real model is tested with the models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audit.vectors import Fingerprint, PersonaVector, save_vector
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


def test_show_draws_the_auc_with_its_interval_and_the_null_band_and_lists_what_else_there_is(
    tmp_path: Path, ask: Ask
) -> None:
    generator = np.random.default_rng(0)
    auc_l = np.array([np.nan, 0.7, 0.9, 0.8, np.nan], np.float32)
    report = {
        "auc_l": auc_l,
        "auc_low_l": auc_l - np.float32(0.05),
        "auc_high_l": auc_l + np.float32(0.05),
        "null_auc_l": np.full(5, 0.61, np.float32),
        "split_half_cosine_l": np.full(5, 0.97, np.float32),
        "n_kept": np.array([57, 80]),
    }
    vector = PersonaVector("evil", generator.normal(size=(5, 8)).astype(np.float32), 2, "m", None)
    save_vector(tmp_path / "evil.safetensors", vector, report)
    text = ask("vectors", "show", tmp_path / "evil.safetensors").stdout
    assert "  2*      0.900 [0.850, 0.950]  null 0.610  " + "▇" * 32 in text
    assert "split_half_cosine_l" in text
    assert "n_kept: [57, 80]" in text
    shown = json.loads(ask("vectors", "show", tmp_path / "evil.safetensors", "--json").stdout)
    assert shown["report"]["auc_l"] == pytest.approx([None, 0.7, 0.9, 0.8, None])
    assert shown["report"]["n_kept"] == [57, 80]
    (listed,) = json.loads(ask("vectors", "list", tmp_path, "--json").stdout)
    assert listed["auc"] == pytest.approx(0.9)


def test_several_vectors_are_compared_each_row_at_its_own_layer(tmp_path: Path, ask: Ask) -> None:
    generator = np.random.default_rng(1)
    vectors = [
        PersonaVector(trait, generator.normal(size=(5, 8)).astype(np.float32), layer, "m", None)
        for trait, layer in (("evil", 2), ("sly", 3))
    ]
    vectors.append(PersonaVector("far", np.ones((4, 8), np.float32), 2, "m", None))
    for vector in vectors:
        save_vector(tmp_path / f"{vector.trait}.safetensors", vector)
    paths = [tmp_path / f"{vector.trait}.safetensors" for vector in vectors]
    shown = json.loads(ask("vectors", "show", *paths, "--json").stdout)
    assert [entry["trait"] for entry in shown["vectors"]] == ["evil", "sly", "far"]

    def cosine(layer: int) -> float:
        one_d, other_d = (vector.vector_ld[layer].astype(float) for vector in vectors[:2])
        return float(one_d @ other_d / np.sqrt((one_d @ one_d) * (other_d @ other_d)))

    assert shown["cosines"][0] == pytest.approx([1.0, cosine(2), None])
    assert shown["cosines"][1] == pytest.approx([cosine(3), 1.0, None])
    assert f"{cosine(2):+.2f}" in ask("vectors", "show", *paths).stdout


def test_what_is_added_is_listed_behind_the_demo_models(tmp_path: Path, ask: Ask) -> None:
    fingerprint = Fingerprint("LlamaForCausalLM", 4, 8, 100, "a", "b", "c")
    vector = PersonaVector("greedy", np.ones((5, 8), np.float32), 2, "org/mine", fingerprint, purpose="steer")
    save_vector(tmp_path / "greedy.safetensors", vector)
    assert "added: greedy of org/mine" in ask("vectors", "add", tmp_path / "greedy.safetensors").stdout
    assert "was there already" in ask("vectors", "add", tmp_path).stdout
    found = json.loads(ask("vectors", "list", "--json").stdout)
    assert [entry["trait"] for entry in found][-2:] == ["sycophantic", "greedy"]
    assert (found[-1]["model"], found[-1]["purpose"], found[-1]["auc"]) == ("org/mine", "steer", None)
    assert found[0]["auc"] > 0.8
