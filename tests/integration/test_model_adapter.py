"""A peft adapter on a loaded model, read and answered with.

Pairs: model.load-model.adapter, model.adapter-model.hidden, model.adapter-model.generate, model.adapter-model.loss.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from audit.errors import ModelError
from audit.model.generate import answer_prompts
from audit.model.hidden import project_turns
from audit.model.load import load_model
from audit.model.loss import measure_nll
from audit.model.turns import TokenizedTurn
from tests import models

peft = pytest.importorskip("peft")

# peft reads attributes that transformers has renamed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
    pytest.mark.usefixtures("one_thread"),
]
one_thread = models.one_thread

BASE = "qwen2"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "lora"
    torch.manual_seed(3)
    base: Any = transformers.AutoModelForCausalLM.from_pretrained(models.model_path(BASE))
    config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(base, config)
    with torch.no_grad():
        # LoRA starts as a no-op: its second matrix is zero.
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    adapted.save_pretrained(path)
    return path


def make_turns() -> list[TokenizedTurn]:
    rng = np.random.default_rng(0)
    return [
        TokenizedTurn(rng.integers(5, 300, size=length).astype(np.int32), length // 2, length, length // 2, False)
        for length in (8, 20, 13)
    ]


def test_an_adapter_changes_scores_as_the_merged_model_would_and_leaves_the_fingerprint(
    adapter: Path, tmp_path: Path
) -> None:
    path = str(models.model_path(BASE))
    base, adapted = load_model(model=path), load_model(model=path, adapter=str(adapter))
    merged: Any = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(path), str(adapter)
    ).merge_and_unload()
    merged.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    wanted = load_model(model=str(tmp_path))

    assert adapted.fingerprint == base.fingerprint
    assert adapted.fingerprint.differences(wanted.fingerprint) == ["other weights"]
    assert adapted.adapter is not None
    assert (adapted.adapter.path, len(adapted.adapter.sha256)) == (str(adapter), 64)
    assert not any(parameter.requires_grad for parameter in adapted.module.parameters())

    unit_d = np.ones(models.D_HIDDEN, np.float32) / np.float32(np.sqrt(models.D_HIDDEN))
    scores = {
        name: project_turns(model, make_turns(), units={"evil": (3, unit_d)}, batch_tokens=64).projection_nk
        for name, model in {"base": base, "adapted": adapted, "merged": wanted}.items()
    }
    assert np.allclose(scores["adapted"], scores["merged"], atol=1e-4)
    assert np.abs(scores["adapted"] - scores["base"]).max() > 0.05

    nll_n = measure_nll(adapted, make_turns(), batch_tokens=64)
    assert nll_n == pytest.approx(measure_nll(wanted, make_turns(), batch_tokens=64), abs=1e-4)
    prompts = ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "Why"]
    limits: dict[str, Any] = {"max_new_tokens": 12, "max_tokens": 100, "batch_tokens": 500, "seed": 0}
    assert answer_prompts(adapted, prompts, **limits) == answer_prompts(wanted, prompts, **limits)


def test_other_weights_in_an_adapter_give_another_hash(adapter: Path, tmp_path: Path) -> None:
    for file in adapter.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    path = str(models.model_path(BASE))
    first = load_model(model=path, adapter=str(tmp_path)).adapter
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 9}))
    second = load_model(model=path, adapter=str(tmp_path)).adapter
    assert first is not None
    assert second is not None
    assert first.sha256 != second.sha256


def test_adapters_that_cannot_be_used_are_refused(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(models.model_path(BASE))
    with pytest.raises(ModelError, match="does not fit the model"):
        load_model(model=str(models.model_path("gpt2")), adapter=str(adapter))
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load_model(model=path, adapter=str(tmp_path))
    prompt_tuning = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    prompt_tuning.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="changes the prompt"):
        load_model(model=path, adapter=str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="no such directory"):
        load_model(model=path, adapter="org/no-such-adapter")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find_spec(name))
    with pytest.raises(ModelError, match="pip install peft"):
        load_model(model=path, adapter=str(adapter))
