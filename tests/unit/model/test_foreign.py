"""Torch files of other tools: what is read of them, and that nothing in them is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audit.errors import VectorError
from audit.model.foreign import name_model_type, read_pt, read_safetensors, write_pt


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tensor_of_any_float_is_taken_over(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(6, 8).to(dtype)
    torch.save(tensor, tmp_path / "v.pt")
    save_file({"evil": tensor}, tmp_path / "v.safetensors")
    for found in (*read_pt(tmp_path / "v.pt"), *read_safetensors(tmp_path / "v.safetensors")):
        assert found.values is not None
        assert np.array_equal(found.values, tensor.float().numpy())


def test_views_parameters_and_the_older_format_are_read(tmp_path: Path) -> None:
    whole = torch.randn(8, 6)
    torch.save({"v": torch.nn.Parameter(whole.T), "name": "evil"}, tmp_path / "v.pt")
    torch.save(whole.T, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for path in ("v.pt", "old.pt"):
        (found,) = read_pt(tmp_path / path)
        assert found.values is not None
        assert np.array_equal(found.values, whole.T.numpy())


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_nothing(tmp_path: Path, how: str) -> None:
    made, path = tmp_path / "made", tmp_path / "v.pt"
    content = {"v": torch.zeros(6, 8), "payload": Payload(made)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(VectorError, match="nothing was run") as caught:
        read_pt(path)
    assert "weights_only" not in str(caught.value)
    assert not made.exists()
    # The payload is live: whoever trusts the file runs it.
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())  # noqa: S301
    assert made.exists()


def test_what_is_no_tensor_of_floats_has_no_values(tmp_path: Path) -> None:
    odd = {
        "int": torch.zeros(6, 8, dtype=torch.int64),
        "sparse": torch.eye(6).to_sparse(),
        # One number that claims to be four terabytes.
        "vast": torch.zeros(1).expand(10**6, 10**6),
    }
    torch.save(odd, tmp_path / "v.pt")
    assert [(found.name, found.values) for found in read_pt(tmp_path / "v.pt")] == [(name, None) for name in odd]


def test_files_that_hold_no_tensor_or_are_damaged_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(torch.zeros(6, 8), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    (tmp_path / "noise.pt").write_bytes(b"\x80\x02" + bytes(range(256)))
    (tmp_path / "empty.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    for name, finding in {"list": "holds list", "cut": "not readable", "noise": "not readable|nothing was run"}.items():
        with pytest.raises(VectorError, match=finding):
            read_pt(tmp_path / f"{name}.pt")
    assert read_safetensors(tmp_path / "empty.safetensors") == []


def test_a_written_vector_is_one_plain_tensor(tmp_path: Path) -> None:
    vector_ld = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    vector_ld.setflags(write=False)
    write_pt(tmp_path / "v.pt", vector_ld)
    loaded = torch.load(tmp_path / "v.pt", weights_only=True)
    assert loaded.dtype == torch.float32
    assert loaded.numpy().tobytes() == vector_ld.tobytes()


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [("Qwen2ForCausalLM", "qwen2"), ("LlamaForCausalLM", "llama"), ("GPTNeoXForCausalLM", "gpt_neox"), ("X", None)],
)
def test_a_model_type_is_what_configurations_say(architecture: str, model_type: str | None) -> None:
    assert name_model_type(architecture) == model_type
