"""Vectors in from other tools and out to them, with the models that they belong to.

Pairs: exchange-model.foreign, exchange-model.load, exchange-vectors, cli-exchange.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from audit import exchange
from audit.cli import cli
from audit.errors import ConfigError, VectorError
from audit.exchange import export_vector, import_vector
from audit.model.load import load_model
from audit.vectors import Fingerprint, check_fit, load_vector, save_vector
from tests.models import D_HIDDEN, N_LAYERS, model_path

MODEL = str(model_path("llama"))
ROWS_LD = np.random.default_rng(0).normal(size=(N_LAYERS + 1, D_HIDDEN)).astype(np.float32)


def ask(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="persona-audit")


def save(path: Path, rows: Any) -> Path:
    if path.suffix == ".pt":
        torch.save(torch.from_numpy(np.array(rows)), path)
    elif path.suffix == ".npy":
        np.save(path, rows)
    else:
        save_file({"direction": np.ascontiguousarray(rows)}, path)
    return path


def take(path: Path, *, layer: int | None = 3, **options: Any) -> Any:
    return import_vector(path, trait="evil", model=MODEL, layer=layer, **options)


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".safetensors"])
def test_a_foreign_vector_becomes_one_of_the_model_with_a_warning_that_it_has_no_report(
    tmp_path: Path, suffix: str
) -> None:
    file = save(tmp_path / f"evil_avg{suffix}", ROWS_LD)
    output = tmp_path / "evil.safetensors"
    result = ask(
        "vectors", "import", file, "--trait", "evil", "--model", MODEL, "--layer", 3, "--licence", "MIT",
        "--output", output,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "no report" in result.stderr
    vector = load_vector(output)
    assert vector.vector_ld.tobytes() == ROWS_LD.tobytes()
    assert (vector.trait, vector.layer, vector.purpose, vector.model_id) == ("evil", 3, "measure", MODEL)
    assert vector.fingerprint == load_model(model=MODEL).fingerprint
    assert (vector.details["source"], vector.details["licence"]) == (f"evil_avg{suffix}", "MIT")
    assert not vector.has_report


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".safetensors"])
def test_one_row_fills_its_layer_alone(tmp_path: Path, suffix: str) -> None:
    vector = take(save(tmp_path / f"v{suffix}", ROWS_LD[2]), layer=2)
    assert vector.vector_ld[2].tobytes() == ROWS_LD[2].tobytes()
    assert np.flatnonzero(vector.vector_ld.any(axis=1)).tolist() == [2]


@pytest.mark.parametrize(
    ("rows", "layer", "finding"),
    [
        (ROWS_LD, None, "name it with --layer, 1 to 4"),
        (ROWS_LD, 0, "layer 0 cannot be scored"),
        (ROWS_LD, N_LAYERS, "after the final norm"),
        (ROWS_LD.astype(np.int32), 3, "no floating-point number"),
        (ROWS_LD[:, :16], 3, r"holds \[6, 16\].*this model is \[6, 32\]"),
        (np.where(np.arange(6)[:, None] == 4, np.nan, ROWS_LD), 3, "NaN or infinity in row 4"),
        (np.full((6, 32), 1e300), 3, "NaN or infinity in row 0"),
        (np.where(np.arange(6)[:, None] == 3, 0, ROWS_LD), 3, "no direction at layer 3: there is one at 0, 1, 2, 4, 5"),
    ],
)
def test_a_file_that_cannot_score_is_refused_with_the_cure(
    tmp_path: Path, rows: np.ndarray, layer: int | None, finding: str
) -> None:
    for suffix in (".pt", ".npy", ".safetensors"):
        with pytest.raises(VectorError, match=finding) as caught:
            take(save(tmp_path / f"v{suffix}", rows), layer=layer)
        assert caught.value.cure
        assert caught.value.place == str(tmp_path / f"v{suffix}")


@pytest.mark.parametrize("shape", [(37, 2560), (65, 5120)])
def test_vectors_of_real_sizes_go_through_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    # A model of that size is stood in for by what identifies it.
    fingerprint = Fingerprint("Qwen3ForCausalLM", shape[0] - 1, shape[1], 1000, "a", "b", "c")
    monkeypatch.setattr(exchange, "load_model", lambda **_: SimpleNamespace(fingerprint=fingerprint))
    rows_ld = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    save_vector(tmp_path / "evil.safetensors", take(save(tmp_path / "in.pt", rows_ld), layer=20, purpose="steer"))

    as_pt = export_vector(tmp_path / "evil.safetensors", to="pt")
    assert torch.load(as_pt, weights_only=True).numpy().tobytes() == rows_ld.tobytes()
    assert take(as_pt, layer=20).vector_ld.tobytes() == rows_ld.tobytes()

    as_gguf = export_vector(tmp_path / "evil.safetensors", to="gguf", output=tmp_path / "out" / "evil.gguf")
    back_ld = take(as_gguf, layer=20).vector_ld
    inside = slice(2, shape[0] - 1)
    assert back_ld[inside].tobytes() == rows_ld[inside].tobytes()
    assert not back_ld[:2].any()
    assert not back_ld[-1].any()
    assert gguf.GGUFReader(as_gguf).get_field("controlvector.model_hint").contents() == "qwen3"


def test_a_vector_to_measure_with_is_exported_for_no_tool(tmp_path: Path) -> None:
    save_vector(tmp_path / "evil.safetensors", take(save(tmp_path / "in.pt", ROWS_LD)))
    for to in ("pt", "gguf"):
        result = ask("vectors", "export", tmp_path / "evil.safetensors", "--to", to)
        assert result.exit_code == 2
        assert "--purpose steer" in result.stderr
        assert not (tmp_path / f"evil.{to}").exists()


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    save_vector(tmp_path / "evil.safetensors", take(save(tmp_path / "in.pt", ROWS_LD), purpose="steer"))
    words = ("vectors", "export", tmp_path / "evil.safetensors", "--to", "gguf", "--output", tmp_path / "v.gguf")
    (tmp_path / "v.gguf").write_text("mine")
    result = ask(*words)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (tmp_path / "v.gguf").read_text() == "mine"
    result = ask(*words, "--force")
    assert "direction.2 " in result.stderr
    assert take(tmp_path / "v.gguf").vector_ld[3].tobytes() == ROWS_LD[3].tobytes()
    words = ("vectors", "import", tmp_path / "in.pt", "--trait", "evil", "--model", MODEL, "--layer", 2, "--output")
    assert ask(*words, tmp_path / "evil.safetensors").exit_code == 2
    assert load_vector(tmp_path / "evil.safetensors").layer == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.safetensors", "in.pt", "v.gguf"]


def test_a_vector_of_ours_is_exported_once_it_is_imported_anew_to_steer_with(tmp_path: Path) -> None:
    measured = take(save(tmp_path / "in.pt", ROWS_LD))
    save_vector(tmp_path / "evil.safetensors", measured, {"auc_l": np.full(N_LAYERS + 1, 0.9, np.float32)})
    save_vector(tmp_path / "steer.safetensors", take(tmp_path / "evil.safetensors", purpose="steer"))
    exported = export_vector(tmp_path / "steer.safetensors", to="pt")
    assert torch.load(exported, weights_only=True).numpy().tobytes() == ROWS_LD.tobytes()


def test_layer_1_has_no_place_in_a_control_vector(tmp_path: Path) -> None:
    save_vector(tmp_path / "evil.safetensors", take(save(tmp_path / "in.pt", ROWS_LD), layer=1, purpose="steer"))
    with pytest.raises(VectorError, match=r"direction\.0"):
        export_vector(tmp_path / "evil.safetensors", to="gguf")
    assert export_vector(tmp_path / "evil.safetensors", to="pt").is_file()


def test_an_imported_vector_is_bound_to_its_model(tmp_path: Path) -> None:
    vector = take(save(tmp_path / "in.pt", ROWS_LD))
    other = load_model(model=str(model_path("mistral"))).fingerprint
    with pytest.raises(VectorError, match="measured on"):
        check_fit(vector, other, 3)


@pytest.mark.parametrize(
    ("option", "value"), [("--trait", "Evil!"), ("--output", "evil.pt"), ("--model", "nowhere/at/all")]
)
def test_options_that_cannot_be_are_named(tmp_path: Path, option: str, value: str) -> None:
    file = save(tmp_path / "in.pt", ROWS_LD)
    options = {"--trait": "evil", "--model": MODEL, "--layer": "3", "--output": tmp_path / "evil.safetensors"}
    words = [word for pair in (options | {option: value}).items() for word in pair]
    result = ask("vectors", "import", file, *words)
    assert result.exit_code == 2
    assert value in result.stderr
    with pytest.raises(ConfigError, match="--to"):
        export_vector(file, to="onnx")
