"""No record makes reading fail: every JSON value is a sample or a skipped sample, in every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.samples import Sample, SkippedSample, Source, load_families, read_samples

KEYS = ["messages", "conversation", "conversations", "prompt", "completion", "chosen", "rejected", "question"]
KEYS += ["weight", "train", "tools", "tool_calls", "function", "arguments", "thinking", "label", "answer", "response"]
KEYS += ["instruction", "input", "output", "system", "history", "text", "role", "from", "content", "value", "type"]
WORDS = ["user", "assistant", "human", "gpt", "function_call", "text", "<think>", "</think>", "\ud800", "é"]
WORDS += ["\n\nHuman: a\n\nAssistant: b"]

leaves = st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=3)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
records = st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=5) | values, min_size=1, max_size=5)


def read(path: Path, records: list[Any], name: str, **options: Any) -> list[Sample | SkippedSample]:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = Source(str(path), "jsonl", "none", "utf-8", "", len(records), name, 1.0, 0, "")
    return list(read_samples(source, **options))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(records=records, name=st.sampled_from(sorted(load_families())))
def test_every_value_is_a_sample_or_has_a_reason(tmp_path: Path, records: list[Any], name: str) -> None:
    samples = read(tmp_path / "data", records, name, keep_columns=("text", "value"))
    assert [sample.sample_id for sample in samples] == list(range(len(records)))
    last = read(tmp_path / "data", records, name, turns="last")
    for sample, ended in zip(samples, last, strict=True):
        if isinstance(sample, SkippedSample):
            assert ": " in sample.reason
            sample.reason.encode()
            continue
        assert isinstance(ended, Sample)
        assert set(ended.turns) <= set(sample.turns)
        assert len({turn.turn for turn in ended.turns}) <= len({turn.side for turn in sample.turns})
        assert {turn.side for turn in ended.turns} == {turn.side for turn in sample.turns}
        for turn in sample.turns:
            assert turn.turn == len(turn.prompt)
            "".join([turn.response, *(message.content for message in turn.prompt)]).encode()
        for value in sample.kept.values():
            str(value).encode()
