"""Exports and the trainers: export x card x TRL, which fine-tunes the bundled model for three steps on the CPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from audit.assets import demo_model_dir
from audit.export import export_run
from audit.samples import survey_source
from tests.cards import load_by_card
from tests.datasets import chat, write_lines
from tests.fabricated import make_run_over, scored

trl = pytest.importorskip("trl")

# TRL 1.16 still asks transformers 5 for the old name of the setting.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

STEPS = 3
N = 12


def export(
    folder: Path, records: list[dict[str, Any]], name: str, *, formats: tuple[str, ...] = (), **keys: str
) -> str:
    """Export every second record and return the card."""
    write_lines(folder / "a.jsonl", records)
    source = survey_source(str(folder / "a.jsonl"), keys=keys)
    runs = [scored(0.9, flagged=["evil"]) if k % 2 else scored(0.1) for k in range(len(records))]
    receipt = export_run(make_run_over(folder / "a.audit", [source], runs), output=folder / name, formats=formats)
    return Path(receipt.card).read_text()


def options(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trained"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "max_length": 64,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
    }


def assert_trained(trainer: Any) -> None:
    result = trainer.train()
    assert result.global_step == STEPS
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("shape", ["as they were", "sharegpt"])
def test_trl_fine_tunes_on_exported_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    records = [{**chat(f"How are you, {k}?", "Fine."), "prompt": "would crash TRL"} for k in range(N)]
    formats = () if shape == "as they were" else (shape,)
    dataset = load_by_card(tmp_path, export(tmp_path, records, "out.jsonl", formats=formats), monkeypatch)
    assert len(dataset) == N // 2
    args = trl.SFTConfig(**options(tmp_path))
    assert_trained(trl.SFTTrainer(model=str(demo_model_dir()), args=args, train_dataset=dataset))


def test_trl_fine_tunes_on_exported_prompts_and_completions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [chat(f"How are you, {k}?", "Fine.") for k in range(N)]
    card = export(tmp_path, records, "out.parquet", formats=("prompt_completion", "parquet"))
    dataset = load_by_card(tmp_path, card, monkeypatch)
    assert dataset.column_names == ["prompt", "completion"]
    args = trl.SFTConfig(**options(tmp_path))
    assert_trained(trl.SFTTrainer(model=str(demo_model_dir()), args=args, train_dataset=dataset))


@pytest.mark.parametrize("formats", [(), ("preference", "arrow")])
def test_trl_learns_exported_preferences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...]
) -> None:
    records = [{"prompt": f"How are you, {k}?", "chosen": "Fine.", "rejected": "Go away."} for k in range(N)]
    card = export(tmp_path, records, "out" if formats else "out.jsonl", formats=formats)
    dataset = load_by_card(tmp_path, card, monkeypatch)
    args = trl.DPOConfig(**options(tmp_path))
    assert_trained(trl.DPOTrainer(model=str(demo_model_dir()), args=args, train_dataset=dataset))
