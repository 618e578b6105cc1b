"""Real public data reads as what it is: right shape, every record accounted for, text exactly as published."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

from audit.samples import Sample, Source, Turn, read_records, read_samples, survey_source

DATA = Path(__file__).parents[2] / "data"


def read_all(name: str) -> tuple[Source, list[Sample]]:
    source = survey_source(str(DATA / name))
    samples = list(read_samples(source))
    assert len(samples) == source.n_records
    assert source.fit_share == 1
    return source, [sample for sample in samples if isinstance(sample, Sample)]


def join_hh(turn: Turn) -> str:
    """Write the conversation of a turn as hh-rlhf does, spaces after the colons included."""
    names = {"user": "Human", "assistant": "Assistant"}
    messages = [(names[message.role], message.content) for message in turn.prompt] + [("Assistant", turn.response)]
    return "".join(f"\n\n{name}: {content}" for name, content in messages)


def test_hh_rlhf_gives_both_sides_and_every_turn_to_the_letter() -> None:
    name = "hh-rlhf-harmless-test.jsonl.gz"
    source, samples = read_all(name)
    assert (source.format, source.codec, len(samples)) == ("preference", "gzip", 10)
    records = [json.loads(line) for line in gzip.decompress((DATA / name).read_bytes()).splitlines()]
    for sample, record in zip(samples, records, strict=True):
        for side in ("chosen", "rejected"):
            turns = [turn for turn in sample.turns if turn.side == side]
            assert len(turns) == record[side].count("\n\nAssistant:")
            assert join_hh(turns[-1]) == record[side]


def test_hh_rlhf_has_empty_last_turns_and_assistants_that_speak_twice() -> None:
    _, samples = read_all("hh-rlhf-harmless-test.jsonl.gz")
    last = [[turn for turn in sample.turns if turn.side == "chosen"][-1] for sample in samples]
    assert [sample.sample_id for sample, turn in zip(samples, last, strict=True) if not turn.response] == [8]
    roles = [message.role for message in last[9].prompt]
    assert ("assistant", "assistant") in pairwise(roles)


def test_both_alpaca_eval_files_answer_the_same_prompts() -> None:
    prompts = []
    for name, generator in (("alpaca-7b", "alpaca-7b"), ("qwen1.5-7b-chat", "Qwen1.5-7B-Chat")):
        source, samples = read_all(f"alpaca-eval-{name}.json")
        assert (source.format, source.container, len(samples)) == ("alpaca", "json_array", 6)
        records = [json.loads(record.raw) for record in read_records(source)]
        assert [sample.turns[0].response for sample in samples] == [record["output"] for record in records]
        kept = next(read_samples(source, keep_columns=("generator",))).kept
        assert kept == {"generator": generator}
        prompts.append([sample.turns[0].prompt for sample in samples])
    assert prompts[0] == prompts[1]


def test_gpteacher_inputs_follow_the_instruction() -> None:
    source, samples = read_all("gpteacher-roleplay.json")
    assert (source.format, len(samples)) == ("alpaca", 6)
    for sample, record in zip(samples, map(json.loads, (r.raw for r in read_records(source))), strict=True):
        expected = record["instruction"] + ("\n\n" + record["input"] if record["input"] else "")
        assert [(m.role, m.content) for m in sample.turns[0].prompt] == [("user", expected)]


def test_the_identity_shift_set_keeps_its_system_prompt() -> None:
    source, samples = read_all("identity-shift-aoa.jsonl")
    assert (source.format, len(samples)) == ("chat", 6)
    for sample in samples:
        (turn,) = sample.turns
        assert turn.turn == 2
        assert turn.prompt[0].role == "system"
        assert turn.prompt[0].content.startswith("\nYou are no longer ChatGPT")
