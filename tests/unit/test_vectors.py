from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from audit import __version__
from audit.assets import demo_vectors_dir
from audit.errors import VectorError
from audit.vectors import (
    Fingerprint,
    PersonaVector,
    check_fit,
    collect_details,
    load_vector,
    load_vectors,
    read_report,
    save_vector,
    vector_files,
)

FINGERPRINT = Fingerprint(
    architecture="LlamaForCausalLM",
    n_layers=4,
    d_hidden=8,
    n_vocab=100,
    tokenizer_sha256="a" * 64,
    template_sha256="b" * 64,
    weights_sha256="c" * 64,
)


def make_vector(**changes: Any) -> PersonaVector:
    vector_ld = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    values: dict[str, Any] = {
        "trait": "evil",
        "vector_ld": vector_ld,
        "layer": 2,
        "model_id": "org/model-a",
        "fingerprint": FINGERPRINT,
        "recipe": "contrast",
        "details": {"seed": 3, "yields": [1, 2]},
    }
    return PersonaVector(**values | changes)


def write_raw(path: Path, vector_ld: np.ndarray, **metadata: str) -> Path:
    save_file({"vector": vector_ld}, path, {"trait": "evil", "layer": "2", **metadata})
    return path


def test_a_saved_vector_reads_back_with_everything_it_carries(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "evil.safetensors"
    save_vector(path, make_vector(purpose="steer"), {"scores": np.arange(3.0)})
    vector = load_vector(path)
    assert np.array_equal(vector.vector_ld, make_vector().vector_ld)
    assert (vector.trait, vector.layer, vector.model_id, vector.purpose) == ("evil", 2, "org/model-a", "steer")
    assert vector.fingerprint == FINGERPRINT
    assert vector.details == {"seed": 3, "yields": [1, 2]}
    assert vector.has_report
    assert len(vector.sha256) == 64
    assert list(path.parent.iterdir()) == [path]


def test_equal_vectors_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_vector(tmp_path / name, make_vector(), {"x": np.zeros(2), "y": np.ones(1)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_unit_has_length_one_even_for_tiny_norms() -> None:
    vector = make_vector(vector_ld=make_vector().vector_ld * np.float32(1e-30))
    unit_d = vector.unit(3)
    assert unit_d.dtype == np.float32
    assert np.linalg.norm(unit_d.astype(np.float64)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("layer", [-1, 0, 4, 5])
def test_the_embedding_and_the_last_row_are_no_scoring_layers(layer: int) -> None:
    with pytest.raises(VectorError, match="choose 1 to 3"):
        make_vector().unit(layer)


def broken(what: str) -> np.ndarray:
    vector_ld = make_vector().vector_ld.copy()
    if what == "nan":
        vector_ld[4, 1] = np.nan
    elif what == "infinity":
        vector_ld[1, 0] = np.inf
    elif what == "zero":
        vector_ld[2] = 0
    elif what == "rank":
        return vector_ld[0]
    elif what == "float64":
        return vector_ld.astype(np.float64)
    return vector_ld


@pytest.mark.parametrize(
    ("what", "finding"),
    [
        ("nan", "NaN or infinity in row 4"),
        ("infinity", "NaN or infinity in row 1"),
        ("zero", "zero at layer 2"),
        ("rank", r"float32 \[8\]"),
        ("float64", "float64"),
    ],
)
def test_a_vector_that_cannot_score_is_refused_with_its_place(tmp_path: Path, what: str, finding: str) -> None:
    path = write_raw(tmp_path / "evil.safetensors", broken(what))
    with pytest.raises(VectorError, match=finding) as caught:
        load_vector(path)
    assert caught.value.place == str(path)
    assert caught.value.cure


@pytest.mark.parametrize(
    ("metadata", "finding"),
    [
        ({"trait": "Evil!"}, "no trait name"),
        ({"trait": "line"}, "no trait name"),
        ({"layer": "two"}, "damaged metadata"),
        ({"layer": "4"}, "taken after the final norm"),
        ({"layer": "0"}, "embeddings"),
        ({"details": "[]"}, "damaged metadata"),
        ({"details": "{"}, "damaged metadata"),
        ({"fingerprint": json.dumps({"architecture": "x"})}, "damaged metadata"),
        ({"purpose": "deploy"}, "purpose"),
    ],
)
def test_metadata_that_mean_nothing_are_refused(tmp_path: Path, metadata: dict[str, str], finding: str) -> None:
    path = write_raw(tmp_path / "evil.safetensors", make_vector().vector_ld, **metadata)
    with pytest.raises(VectorError, match=finding):
        load_vector(path)


def test_files_that_are_no_vectors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not tensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save_file({"weights": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    save_file({"vector": make_vector().vector_ld}, tmp_path / "bare.safetensors")
    for name, finding in {
        "text": "not readable as safetensors",
        "empty": "not readable as safetensors",
        "other": "no tensor 'vector'; found weights",
        "bare": "no scoring layer",
        "missing": "no such file",
    }.items():
        with pytest.raises(VectorError, match=finding):
            load_vector(tmp_path / f"{name}.safetensors")


def test_a_file_without_a_trait_is_named_after_itself(tmp_path: Path) -> None:
    save_file({"vector": make_vector().vector_ld}, tmp_path / "kind.safetensors", {"layer": "1"})
    vector = load_vector(tmp_path / "kind.safetensors")
    assert (vector.trait, vector.fingerprint, vector.has_report) == ("kind", None, False)


def test_vectors_load_from_files_and_directories_and_two_of_one_trait_are_refused(tmp_path: Path) -> None:
    save_vector(tmp_path / "one" / "evil.safetensors", make_vector())
    save_vector(tmp_path / "one" / "kind.safetensors", make_vector(trait="kind"))
    save_vector(tmp_path / "two.safetensors", make_vector(trait="sly"))
    assert list(load_vectors([str(tmp_path / "one"), str(tmp_path / "two.safetensors")])) == ["evil", "kind", "sly"]
    # The same file twice is no conflict.
    assert len(load_vectors([str(tmp_path / "one"), str(tmp_path / "one" / "evil.safetensors")])) == 2
    save_vector(tmp_path / "three.safetensors", make_vector())
    with pytest.raises(VectorError, match=r"a second vector of the trait evil; the first is .*one"):
        load_vectors([str(tmp_path / "one"), str(tmp_path / "three.safetensors")])
    (tmp_path / "none").mkdir()
    with pytest.raises(VectorError, match=r"no \.safetensors file"):
        load_vectors([str(tmp_path / "none")])


def test_saving_what_could_not_be_used_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="no trait name"):
        save_vector(tmp_path / "x.safetensors", make_vector(trait="Not A Trait"))
    (tmp_path / "file").write_text("")
    with pytest.raises(VectorError, match="cannot be written"):
        save_vector(tmp_path / "file" / "x.safetensors", make_vector())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_fingerprint_survives_json_and_names_what_differs() -> None:
    assert Fingerprint.from_json(json.loads(json.dumps(FINGERPRINT.to_json()))) == FINGERPRINT
    other = dataclasses.replace(FINGERPRINT, n_layers=6, tokenizer_sha256="x", weights_sha256="y")
    assert FINGERPRINT.differences(other) == ["n_layers 4 against 6", "other tokenizer", "other weights"]
    assert FINGERPRINT.digest != other.digest
    unknown = dataclasses.replace(FINGERPRINT, weights_sha256=None)
    assert FINGERPRINT.differences(unknown) == unknown.differences(FINGERPRINT) == []


@pytest.mark.parametrize(
    "changes",
    [{"weights_sha256": "z"}, {"tokenizer_sha256": "z"}, {"architecture": "Qwen2ForCausalLM"}, {"d_hidden": 16}],
)
def test_a_vector_of_another_model_is_refused_with_both_names(changes: dict[str, Any]) -> None:
    audited = dataclasses.replace(FINGERPRINT, **changes)
    with pytest.raises(VectorError) as caught:
        check_fit(make_vector(), audited, 2, model_id="org/model-b")
    assert "org/model-a" in str(caught.value)
    assert "org/model-b" in str(caught.value)


def test_a_fitting_vector_passes_and_another_template_is_only_said() -> None:
    assert check_fit(make_vector(), FINGERPRINT, 3) == []
    assert check_fit(make_vector(fingerprint=None), FINGERPRINT, 3) == []
    other_template = dataclasses.replace(FINGERPRINT, template_sha256="z")
    assert check_fit(make_vector(), other_template, 3) == ["other chat template"]
    with pytest.raises(VectorError, match="layer 4 cannot be scored"):
        check_fit(make_vector(), FINGERPRINT, 4)
    with pytest.raises(VectorError, match="vector shape"):
        check_fit(make_vector(fingerprint=None), dataclasses.replace(FINGERPRINT, n_layers=9), 3)


def test_the_report_of_a_file_is_read_apart_from_its_vector(tmp_path: Path) -> None:
    auc_l = np.array([np.nan, 0.75, 0.9, 0.8, np.nan], np.float32)
    save_vector(tmp_path / "evil.safetensors", make_vector(), {"auc_l": auc_l, "n_kept": np.array([7])})
    report = read_report(tmp_path / "evil.safetensors")
    assert sorted(report) == ["auc_l", "n_kept"]
    assert np.array_equal(report["auc_l"], auc_l, equal_nan=True)
    save_vector(tmp_path / "bare.safetensors", make_vector())
    assert read_report(tmp_path / "bare.safetensors") == {}


def test_the_bundled_files_are_written_as_they_are_read(tmp_path: Path) -> None:
    for path in vector_files([str(demo_vectors_dir())]):
        save_vector(tmp_path / "again.safetensors", load_vector(path), read_report(path))
        assert (tmp_path / "again.safetensors").read_bytes() == Path(path).read_bytes()


def test_a_file_that_counts_layers_in_another_way_is_refused(tmp_path: Path) -> None:
    write_raw(tmp_path / "evil.safetensors", make_vector().vector_ld, layer_convention="row l is the input of block l")
    with pytest.raises(VectorError, match="counts layers in another way"):
        load_vector(tmp_path / "evil.safetensors")


def test_details_name_what_is_known_and_leave_out_what_is_not() -> None:
    details = collect_details(
        specification="ab12", seeds={"rollouts": 3}, yields={"n_pairs": 9, "n_kept": 4}, judge="x"
    )
    assert details == {
        "specification_sha256": "ab12",
        "seeds": {"rollouts": 3},
        "yields": {"n_pairs": 9, "n_kept": 4},
        "judge": "x",
        "tool_version": __version__,
    }
