from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import logging

from audit.errors import ModelError
from audit.model.load import load_model
from tests import models


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(models.model_path("llama"), tmp_path / "tiny"))


def edit_config(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def refuse(finding: str, **arguments: Any) -> ModelError:
    with pytest.raises(ModelError, match=finding) as caught:
        load_model(**arguments)
    assert caught.value.cure
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes
    return caught.value


@pytest.mark.parametrize("family", [*models.FAMILIES, *models.PLAIN_FAMILIES])
def test_a_model_of_any_family_loads_from_its_directory(family: str) -> None:
    model = load_model(model=str(models.model_path(family)))
    assert (model.n_layers, model.d_hidden, model.dtype) == (models.N_LAYERS, models.D_HIDDEN, "float32")
    assert model.context_tokens == models.CONTEXT_TOKENS
    assert model.template.name == ("plain" if family in models.PLAIN_FAMILIES else "model")
    assert model.tokenizer.eos_token_id in model.stop_ids
    assert len(model.blocks) == models.N_LAYERS
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert (model.adapter, model.is_quantised) == (None, False)


def test_the_end_of_turn_token_ends_a_response_though_only_the_template_names_it() -> None:
    model = load_model(model=str(models.model_path("gemma2")))
    assert {model.tokenizer.convert_ids_to_tokens(token) for token in model.stop_ids} == {"<eos>", "<end_of_turn>"}


def test_the_fingerprint_is_the_same_in_every_dtype_that_rounds_alike() -> None:
    path = str(models.model_path("qwen3"))
    single, half = load_model(model=path), load_model(model=path, dtype="bfloat16")
    assert half.dtype == "bfloat16"
    assert next(half.module.parameters()).dtype == torch.bfloat16
    assert single.fingerprint == half.fingerprint
    assert single.fingerprint.architecture == "Qwen3ForCausalLM"


def test_the_fingerprint_tells_other_weights_tokenizers_and_templates_apart(tmp_path: Path) -> None:
    one = load_model(model=str(models.model_path("llama"))).fingerprint
    again = load_model(model=str(models.save_model(tmp_path / "same", "llama"))).fingerprint
    other = load_model(model=str(models.save_model(tmp_path / "other", "llama", seed=1))).fingerprint
    template = load_model(model=str(models.save_model(tmp_path / "t", "llama", template="{{ messages }}"))).fingerprint
    assert one == again
    assert one.differences(other) == ["other weights"]
    assert one.differences(template) == ["other chat template"]
    qwen = load_model(model=str(models.model_path("qwen2"))).fingerprint
    assert {"other tokenizer", "other weights"} < set(one.differences(qwen))


@pytest.mark.parametrize("block", [0, models.N_LAYERS - 1])
def test_the_fingerprint_sees_one_changed_block(copied: Path, block: int) -> None:
    before = load_model(model=str(copied)).fingerprint
    module: Any = transformers.AutoModelForCausalLM.from_pretrained(copied)
    with torch.no_grad():
        module.model.layers[block].mlp.down_proj.weight.add_(0.01)
    module.save_pretrained(copied)
    assert load_model(model=str(copied)).fingerprint.differences(before) == ["other weights"]


def test_loading_leaves_the_processes_settings_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    path = str(models.model_path("llama"))
    capfd.readouterr()
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(model=path)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (verbosity, has_bars)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("model", "finding"),
    [
        ("./nowhere", "no such directory"),
        ("/no/such/model", "no such directory"),
        (__file__, "a file, not a directory"),
    ],
)
def test_a_path_that_is_no_model_is_refused(model: str, finding: str) -> None:
    assert refuse(finding, model=model).place == model


@pytest.mark.parametrize(
    ("removed", "finding"),
    [
        (["config.json"], "no config.json"),
        (["model.safetensors"], "no weights found"),
        (["tokenizer.json", "tokenizer_config.json"], "no tokenizer"),
        (["tokenizer.json"], "no tokenizer"),
    ],
)
def test_missing_files_are_named(copied: Path, removed: list[str], finding: str) -> None:
    for name in removed:
        (copied / name).unlink()
    refuse(finding, model=str(copied))


def test_broken_weights_are_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    refuse("cannot be loaded", model=str(copied))
    weights.write_bytes(b"not a tensor in sight")
    refuse("cannot be loaded", model=str(copied))


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"num_hidden_layers": 7}, "weights are missing, model.layers.5"),
        ({"hidden_size": 48}, "other shapes than config.json"),
        ({"model_type": "unheard_of"}, "does not know"),
        ({"model_type": "t5"}, "no causal language model"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"}}, "never run"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "optimum|gptqmodel"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(copied: Path, changes: dict[str, Any], finding: str) -> None:
    edit_config(copied, **changes)
    refuse(finding, model=str(copied))


def test_an_adapter_alone_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "--adapter" in refuse("an adapter, not a model", model=str(tmp_path)).cure


def test_unknown_devices_and_types_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(models.model_path("llama"))
    refuse("no device", model=path, device="abacus")
    refuse("not known", model=path, dtype="int3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    refuse("0 CUDA devices found", model=path, device="cuda")


def test_a_device_map_needs_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(models.model_path("llama"))
    assert load_model(model=path, device_map="auto").fingerprint == load_model(model=path).fingerprint
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "accelerate" else find_spec(name))
    assert refuse("accelerate is not installed", model=path, device_map="auto").cure == "pip install accelerate"


def test_a_model_that_does_not_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fail)
    refuse("does not fit into the device's memory", model=str(models.model_path("llama")))


class GatedRepoError(OSError):
    """Named as the hub's own error, which is recognised by its name."""


class LocalEntryNotFoundError(OSError):
    """Named as the hub's own error, which is recognised by its name."""


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (GatedRepoError("401 for token hf_secret_of_the_user"), "accept its terms"),
        (OSError("401 Client Error, Authorization: Bearer hf_secret_of_the_user"), "refuses access"),
        (LocalEntryNotFoundError("no connection for hf_secret_of_the_user"), "the hub cannot be reached"),
        (ValueError("something else about hf_secret_of_the_user"), "something else about HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_never_shows_the_token(
    error: Exception, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("wrapped: hf_secret_of_the_user") from error

    def fail_plainly(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(os.environ, "HF_TOKEN", "hf_secret_of_the_user")
    is_hub = not isinstance(error, ValueError)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", fail if is_hub else fail_plainly)
    refused = refuse(finding, model="org/gated")
    assert "hf_secret" not in str(refused)
    # A traceback would print the cause.
    assert refused.__cause__ is None
    assert refused.__suppress_context__
    if "accept" in finding or "access" in finding:
        assert "HF_TOKEN" in refused.cure
