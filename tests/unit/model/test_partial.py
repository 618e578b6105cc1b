"""Scoring loads the blocks it runs and nothing above them, and nobody can tell from the numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from audit.errors import ModelError
from audit.model.generate import answer_prompts
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.loss import measure_nll
from audit.model.turns import TokenizedTurn
from tests import models

N_BLOCKS = 3
TIED = ("gemma2", "gemma3", "gpt2")


def load(path: Path | str, n_blocks: int | None = N_BLOCKS, **options: Any) -> LoadedModel:
    return load_model(model=str(path), n_blocks=n_blocks, **options)


def resident_bytes(model: LoadedModel) -> int:
    """Count the memory that tensors hang on to, views and shared ones once."""
    tensors = [*model.module.parameters(), *model.module.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def block_bytes(model: LoadedModel) -> int:
    return sum(value.nbytes for value in model.blocks[0].parameters())


def make_turns() -> list[TokenizedTurn]:
    rng = np.random.default_rng(0)
    return [
        TokenizedTurn(rng.integers(5, 300, size=length).astype(np.int32), length // 2, length, length // 2, False)
        for length in (8, 20, 13, 50)
    ]


def project(model: LoadedModel, layer: int = N_BLOCKS) -> np.ndarray:
    unit_d = np.ones(models.D_HIDDEN, np.float32) / np.float32(np.sqrt(models.D_HIDDEN))
    found = project_turns(
        model, make_turns(), units={"a": (layer, unit_d), "b": (1, unit_d)}, batch_tokens=64, keep_mean_layer=layer
    )
    assert found.mean_nd is not None
    return np.concatenate([found.projection_nk, found.prompt_projection_nk, found.mean_nd], axis=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", [*models.FAMILIES, *models.PLAIN_FAMILIES])
def test_the_first_blocks_alone_give_the_same_fingerprint_and_scores(family: str, dtype: str) -> None:
    path = models.model_path(family)
    whole, part = load(path, None, dtype=dtype), load(path, dtype=dtype)
    assert (part.n_loaded, part.n_layers, part.whole_reason) == (N_BLOCKS, models.N_LAYERS, None)
    assert part.fingerprint == whole.fingerprint
    assert part.is_packable
    assert type(part.module) is type(whole.module)
    assert np.array_equal(project(part), project(whole))
    assert (part.stop_ids, part.context_tokens, part.dtype) == (whole.stop_ids, whole.context_tokens, dtype)


@pytest.mark.parametrize("family", [*models.FAMILIES, *models.PLAIN_FAMILIES])
def test_blocks_above_the_highest_layer_and_the_head_are_not_resident(family: str) -> None:
    path = models.model_path(family)
    whole, part = load(path, None), load(path)
    head = whole.module.get_output_embeddings()
    head_bytes = 0 if family in TIED else sum(value.nbytes for value in head.parameters())
    gone = (models.N_LAYERS - N_BLOCKS) * block_bytes(whole) + head_bytes
    assert resident_bytes(part) <= resident_bytes(whole) - gone


def test_upper_blocks_are_never_read_while_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: every weight that transformers puts into a model is below the cut."""
    loaded: list[str] = []
    original = torch.nn.Module.__setattr__

    def watch(self: torch.nn.Module, name: str, value: Any) -> None:
        if isinstance(value, torch.nn.Parameter) and not value.is_meta:
            loaded.append(type(self).__name__)
        original(self, name, value)

    monkeypatch.setattr(torch.nn.Module, "__setattr__", watch)
    load(models.model_path("llama"), None)
    n_whole = loaded.count("Linear")
    loaded.clear()
    load(models.model_path("llama"))
    # The output head is the one that is in no block.
    assert n_whole == 7 * models.N_LAYERS + 1
    assert loaded.count("Linear") == 7 * N_BLOCKS


def test_a_sharded_checkpoint_is_loaded_in_part_too(tmp_path: Path) -> None:
    module: Any = transformers.AutoModelForCausalLM.from_pretrained(models.model_path("qwen2"))
    module.save_pretrained(tmp_path, max_shard_size="20KB")
    transformers.AutoTokenizer.from_pretrained(models.model_path("qwen2")).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    part = load(tmp_path)
    assert part.n_loaded == N_BLOCKS
    assert part.fingerprint.weights_sha256 == load(tmp_path, None).fingerprint.weights_sha256
    assert np.array_equal(project(part), project(load(models.model_path("qwen2"))))


def test_weights_saved_without_the_base_models_prefix_are_found(tmp_path: Path) -> None:
    path = Path(shutil.copytree(models.model_path("llama"), tmp_path / "bare"))
    tensors = load_file(path / "model.safetensors")
    save_file({key.removeprefix("model."): value for key, value in tensors.items()}, path / "model.safetensors")
    part = load(path)
    assert part.n_loaded == N_BLOCKS
    assert part.fingerprint == load(path, None).fingerprint


@pytest.mark.parametrize("block", [0, models.N_LAYERS - 1])
def test_the_fingerprint_sees_a_changed_block_that_is_not_loaded(tmp_path: Path, block: int) -> None:
    path = Path(shutil.copytree(models.model_path("llama"), tmp_path / "changed"))
    tensors = load_file(path / "model.safetensors")
    tensors[f"model.layers.{block}.mlp.down_proj.weight"] += 0.01
    save_file(tensors, path / "model.safetensors")
    found = load(path).fingerprint
    assert found.differences(load(models.model_path("llama")).fingerprint) == ["other weights"]
    assert found == load(path, None).fingerprint


def test_what_cannot_be_cut_is_loaded_whole_and_says_why(tmp_path: Path) -> None:
    tokenizer = models.build_tokenizer("llama")
    config = transformers.MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=models.D_HIDDEN,
        intermediate_size=32,
        num_hidden_layers=models.N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=2,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    # Its experts are separate tensors on disk, and one in memory.
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert (model.n_loaded, model.is_whole) == (models.N_LAYERS, True)
    assert model.whole_reason is not None
    assert "other names" in model.whole_reason
    assert model.fingerprint == load(tmp_path, None).fingerprint
    assert project(model).shape[0] == len(make_turns())


def test_pickled_weights_are_loaded_whole(tmp_path: Path) -> None:
    path = Path(shutil.copytree(models.model_path("llama"), tmp_path / "old"))
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    model = load(path)
    assert (model.is_whole, model.whole_reason) == (True, "its weights are in no safetensors file")
    assert np.array_equal(project(model), project(load(models.model_path("llama"))))


def test_a_device_map_and_every_block_work_as_for_the_whole_model() -> None:
    path = models.model_path("llama")
    assert np.array_equal(project(load(path, device_map="auto")), project(load(path, None)))
    assert load(path, device_map="auto").n_loaded == N_BLOCKS
    everything = load(path, models.N_LAYERS)
    assert (everything.is_whole, everything.whole_reason) == (True, None)


def test_missing_weights_are_refused_though_only_absent_blocks_lack_them(tmp_path: Path) -> None:
    path = Path(shutil.copytree(models.model_path("llama"), tmp_path / "short"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": models.N_LAYERS + 2}))
    with pytest.raises(ModelError, match=r"weights are missing, model\.layers\.5"):
        load(path)


def test_a_part_of_a_model_neither_answers_nor_measures_a_loss() -> None:
    model = load(models.model_path("llama"))
    with pytest.raises(ModelError, match="only 3 of 5 blocks"):
        measure_nll(model, make_turns(), batch_tokens=64)
    with pytest.raises(ModelError, match="only 3 of 5 blocks"):
        answer_prompts(model, ["Hi"], max_new_tokens=2, max_tokens=50, batch_tokens=64, seed=0)
    with pytest.raises(RuntimeError, match="not loaded"), torch.no_grad():
        model.module(torch.ones((1, 4), dtype=torch.long))


def test_a_model_of_the_hub_is_loaded_in_part_from_the_local_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(models.model_path("qwen2"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    part = load("org/tiny")
    assert (part.n_loaded, part.whole_reason) == (N_BLOCKS, None)
    assert part.fingerprint == load("org/tiny", None).fingerprint
