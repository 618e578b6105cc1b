"""Turns in two parts, tools, marks and labels, from the file to the relations, against the naive definition.

Pairs covered: samples-shard, shard-store, store-query, run-baseline, query-flag.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors.numpy import load_file

from audit import Run, ScanConfig, scan
from audit.demo.world import audit_rows
from tests import models, oracle
from tests.datasets import TRAITS, chat, write_lines, write_vectors
from tests.templates import STYLES, WEATHER_TOOL, call_weather

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread


@functools.cache
def model_path(style: str = "qwen_3") -> Path:
    """Return a tiny model with the template of a style; Qwen3's keeps reasoning and knows tools."""
    return models.save_model(models.model_path("qwen3").parent / style, "qwen3", template=STYLES[style].text)


def scan_rows(folder: Path, rows: list[Any], *, style: str = "qwen_3", **options: Any) -> Run:
    data = write_lines(folder / "data.jsonl", rows)
    vectors = write_vectors(folder / "vectors", model_path(style))
    settings = {"max_new_tokens": 8, "out": str(folder / "run"), "baseline": "none", "evidence": "off", **options}
    return scan(ScanConfig(datasets=(str(data),), model=str(model_path(style)), vectors=(str(vectors),), **settings))


def rows_of(run: Run, query: str) -> list[tuple[Any, ...]]:
    return run.sql(query).fetchall()


def say(content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def talk(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Is there rain?"}, *messages], **fields}


AGAIN = {"role": "user", "content": "And then?"}
RESULT = {"role": "tool", "content": "rain: yes", "tool_call_id": "call00000"}
ROWS: dict[str, dict[str, Any]] = {
    "plain": chat("Is there rain?", "Yes."),
    "kept apart": talk(say("Yes.", reasoning_content="I look outside.")),
    "embedded": talk(say("<think>\nI look outside.\n</think>\n\nYes."), AGAIN, say("<think>Later?</think>No.")),
    "tools": talk(say(None, tool_calls=call_weather("Paris")), RESULT, say("Yes."), tools=[WEATHER_TOOL]),
    "beside a call": talk(say("I look.", tool_calls=call_weather("Paris", "Rome")), tools=[WEATHER_TOOL]),
    "weights": talk(say("No.", weight=0), AGAIN, say("Yes.", weight=1)),
    "train": talk(say("Yes.", train=True), AGAIN, say("<think>a</think>No.", train=False)),
    "unclosed": talk(say("<think>I wonder")),
    "thinks and calls": talk(say("", thinking="I call.", tool_calls=call_weather("Paris")), tools=[WEATHER_TOOL]),
    "untrained": talk(say("No.", weight=0)),
    "call alone": talk(say("", tool_calls=call_weather("Paris"))),
    "empty": talk(say(" \n")),
    "nobody answers": talk(),
    "bad tools": talk(say("Yes."), tools=7),
}
NAMES = list(ROWS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return scan_rows(tmp_path_factory.mktemp("parts"), list(ROWS.values()))


def test_every_part_has_a_row_and_what_is_not_scored_has_a_status(run: Run) -> None:
    found = rows_of(run, "SELECT sample_id, turn, part, status FROM turns ORDER BY sample_id, turn, part DESC")
    assert [(NAMES[sample_id], *rest) for sample_id, *rest in found] == [
        ("plain", 1, "answer", "ok"),
        ("kept apart", 1, "reasoning", "ok"),
        ("kept apart", 1, "answer", "ok"),
        ("embedded", 1, "reasoning", "ok"),
        ("embedded", 1, "answer", "ok"),
        ("embedded", 3, "reasoning", "ok"),
        ("embedded", 3, "answer", "ok"),
        ("tools", 1, "answer", "tool_call"),
        ("tools", 3, "answer", "ok"),
        ("beside a call", 1, "answer", "ok"),
        ("weights", 1, "answer", "not_trained"),
        ("weights", 3, "answer", "ok"),
        ("train", 1, "answer", "ok"),
        ("train", 3, "reasoning", "not_trained"),
        ("train", 3, "answer", "not_trained"),
        ("unclosed", 1, "reasoning", "ok"),
        ("unclosed", 1, "answer", "empty_response"),
        ("thinks and calls", 1, "reasoning", "ok"),
        ("thinks and calls", 1, "answer", "tool_call"),
        ("untrained", 1, "answer", "not_trained"),
        ("call alone", 1, "answer", "tool_call"),
        ("empty", 1, "answer", "empty_response"),
    ]


def test_reasons_say_what_was_found(run: Run) -> None:
    reasons = set(rows_of(run, "SELECT status, reason FROM turns WHERE status <> 'ok'"))
    assert reasons == {
        ("tool_call", "the turn calls a tool and says nothing"),
        ("not_trained", "its weight is 0"),
        ("not_trained", "it is marked train: false"),
        ("empty_response", "there is reasoning and no answer"),
        ("empty_response", "the response is white space"),
    }


def test_calls_are_counted_and_a_turn_in_two_parts_is_one(run: Run) -> None:
    n_calls = rows_of(run, "SELECT sample_id, max(n_tool_calls) FROM turns GROUP BY ALL HAVING max(n_tool_calls) > 0")
    assert {NAMES[sample_id]: n for sample_id, n in n_calls} == {
        "tools": 1,
        "beside a call": 2,
        "thinks and calls": 1,
        "call alone": 1,
    }
    n_turns = rows_of(run, "SELECT n_turns FROM samples ORDER BY sample_id")
    assert [n for (n,) in n_turns] == [1, 1, 2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 0, 0]


def test_records_in_are_scored_or_skipped_with_a_reason(run: Run) -> None:
    samples = rows_of(run, "SELECT status, split_part(reason, ':', 1) FROM samples ORDER BY sample_id")
    assert samples == [
        *[("ok", None)] * 9,
        ("skipped", "not_trained"),
        ("skipped", "tool_call"),
        ("skipped", "empty_response"),
        ("skipped", "no_assistant_turn"),
        ("skipped", "bad_tools"),
    ]
    counts = run.summary()["counts"]
    assert (counts["n_samples"], counts["n_ok"], counts["n_skipped"]) == (len(ROWS), 9, 5)


def test_only_scored_parts_have_scores_and_none_is_a_stand_in(run: Run) -> None:
    keys = "sample_id, side, turn, part"
    scored = rows_of(run, f"SELECT {keys} FROM turns WHERE status = 'ok' ORDER BY ALL")
    for trait in TRAITS:
        assert rows_of(run, f"SELECT {keys} FROM scores WHERE trait = '{trait}' ORDER BY ALL") == scored
    assert rows_of(run, "SELECT 1 FROM scores WHERE projection IS NULL OR isnan(projection) OR projection = 0") == []


def test_a_records_score_is_that_of_its_answers(run: Run) -> None:
    wide = dict(rows_of(run, "SELECT sample_id, evil FROM sample_scores"))
    answers = rows_of(
        run, "SELECT sample_id, max(projection) FROM scores WHERE trait = 'evil' AND part = 'answer' GROUP BY ALL"
    )
    assert {sample_id: score for sample_id, score in wide.items() if score is not None} == dict(answers)
    assert wide[NAMES.index("unclosed")] is None
    lengths = dict(rows_of(run, "SELECT sample_id, n_response_tokens FROM sample_scores"))
    assert lengths[NAMES.index("kept apart")] == lengths[NAMES.index("plain")]


def test_both_parts_have_the_definitions_projection(run: Run, tmp_path: Path) -> None:
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path()).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path())
    vectors = write_vectors(tmp_path, model_path())
    vector_ld = load_file(vectors / "evil.safetensors")["vector"]
    for name, turn in [("kept apart", 1), ("embedded", 1), ("embedded", 3), ("tools", 3)]:
        row = ROWS[name]
        messages = row["messages"][: turn + 1]
        prompt, whole = oracle.render_pair(tokenizer, messages, row.get("tools"))
        spans = {"answer": (whole.rindex("</think>\n\n") + len("</think>\n\n"), len(whole) - len("<|im_end|>\n"))}
        if name != "tools":
            spans["reasoning"] = oracle.find_reasoning(whole, prompt)
        for part, (start, stop) in spans.items():
            wanted = oracle.score_span(module, tokenizer, whole, start, stop, vector_ld=vector_ld, layer=2)
            place = f"sample_id = {NAMES.index(name)} AND turn = {turn} AND part = '{part}' AND trait = 'evil'"
            ((projection, prompt_projection),) = rows_of(
                run, f"SELECT projection, prompt_projection FROM scores WHERE {place}"
            )
            assert projection == pytest.approx(wanted.projection, abs=1e-5), (name, part)
            assert prompt_projection == pytest.approx(wanted.prompt_projection, abs=1e-5), (name, part)


THINKING = {
    "in the content": lambda plan, text: say(f"<think>\n{plan}\n</think>\n\n{text}"),
    "kept apart": lambda plan, text: say(text, reasoning_content=plan),
}


@pytest.mark.parametrize("by", ["prompt", "position"])
@pytest.mark.parametrize("kept", THINKING)
def test_reasoning_of_a_baseline_file_is_compared_with_reasoning(tmp_path: Path, kept: str, by: str) -> None:
    rows = [
        talk(say("<think>Own plan.</think>Own answer."), AGAIN, say("Second.", thinking="Second plan.")),
        talk(say("Bare answer."), system="Be kind."),
    ]
    ready = [
        {"messages": [*rows[0]["messages"][:1], THINKING[kept]("Ready plan.", "Ready answer.")]},
        talk(say("No plan.")),
    ]
    ready[0]["messages"] += [AGAIN, say("Ready second.")] if by == "position" else []
    ready[1] |= {"system": "Be kind."}
    file = write_lines(tmp_path / "ready.jsonl", ready)
    run = scan_rows(tmp_path, rows, baseline=str(file), baseline_by=by)
    query = "SELECT sample_id, turn, part, status, reason FROM turns ORDER BY sample_id, turn, part DESC"
    second = {
        "prompt": ("baseline_failed", "no response to this prompt in the baseline file"),
        "position": ("ok", None),
    }[by]
    first_missing = ("baseline_failed", "the baseline has no reasoning") if by == "position" else second
    assert rows_of(run, query) == [
        (0, 1, "reasoning", "ok", None),
        (0, 1, "answer", "ok", None),
        (0, 3, "reasoning", *first_missing),
        (0, 3, "answer", *second),
        (1, 2, "answer", "ok", None),
    ]
    for part in ("reasoning", "answer"):
        ((projection, baseline, difference),) = rows_of(
            run,
            "SELECT projection, baseline_projection, projection_difference FROM scores "
            f"WHERE sample_id = 0 AND turn = 1 AND part = '{part}' AND trait = 'evil'",
        )
        assert difference == pytest.approx(projection - baseline, abs=1e-5)
        assert baseline == pytest.approx(ready_projection(tmp_path, ready[0]["messages"][:2], part), abs=1e-5)
    missing = (
        "SELECT projection IS NULL, projection_difference IS NULL FROM scores JOIN turns USING (sample_id, turn, part)"
    )
    assert set(rows_of(run, f"{missing} WHERE status = 'baseline_failed'")) == {(False, True)}


def ready_projection(folder: Path, messages: list[dict[str, Any]], part: str) -> float:
    """Score a part of a ready response naively."""
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path()).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path())
    vector_ld = load_file(folder / "vectors" / "evil.safetensors")["vector"]
    prompt, whole = oracle.render_pair(tokenizer, messages)
    span = oracle.find_reasoning(whole, prompt)
    if part == "answer":
        span = (whole.index("</think>\n\n", span[1]) + len("</think>\n\n"), len(whole) - len("<|im_end|>\n"))
    return oracle.score_span(module, tokenizer, whole, *span, vector_ld=vector_ld, layer=2).projection


@pytest.mark.parametrize("style", ["harmony", "chatml"])
@pytest.mark.parametrize("kept", THINKING)
def test_reasoning_of_a_baseline_is_kept_where_the_row_keeps_its_own(tmp_path: Path, style: str, kept: str) -> None:
    # One of these templates writes a field apart and the other leaves it out; both take a block for text.
    same = THINKING[kept]("A plan.", "Yes.")
    file = write_lines(tmp_path / "ready.jsonl", [talk(THINKING["in the content"]("A plan.", "Yes."))])
    run = scan_rows(tmp_path, [talk(same)], style=style, baseline=str(file))
    for status, difference in rows_of(run, "SELECT status, projection_difference FROM turns JOIN scores USING (part)"):
        assert status == "ok"
        assert difference == pytest.approx(0, abs=1e-5)
    assert len(rows_of(run, "FROM scores")) == len(TRAITS) * (1 if (style, kept) == ("chatml", "kept apart") else 2)


def test_a_baseline_that_does_not_reason_leaves_reasoning_its_projection(tmp_path: Path) -> None:
    run = scan_rows(tmp_path, [ROWS["kept apart"]], baseline="generate")
    turns = rows_of(run, "SELECT part, status, reason FROM turns ORDER BY part")
    assert turns == [("answer", "ok", None), ("reasoning", "baseline_failed", "the baseline has no reasoning")]
    scores = rows_of(run, "SELECT part, projection IS NULL, projection_difference IS NULL FROM scores ORDER BY ALL")
    assert set(scores) == {("answer", False, False), ("reasoning", False, True)}


def test_long_turns_are_cut_at_their_end_and_long_prompts_leave_no_room(tmp_path: Path) -> None:
    rows = [
        talk(say("Yes. " * 20_000)),
        talk(say(f"<think>{'I wonder. ' * 10_000}</think>Yes.")),
        chat("Is there rain? " * 7_000, "Yes."),
        talk(say("Yes.")),
    ]
    run = scan_rows(tmp_path, rows, max_tokens=64)
    turns = rows_of(
        run, "SELECT part, status, n_prompt_tokens + n_response_tokens FROM turns ORDER BY sample_id, part DESC"
    )
    assert turns[:4] == [
        ("answer", "truncated", 64),
        ("reasoning", "truncated", 64),
        # The reasoning before it fills the context, so it is prompt that leaves no room.
        ("answer", "prompt_too_long", None),
        ("answer", "prompt_too_long", None),
    ]
    assert turns[4][:2] == ("answer", "ok")
    assert (
        rows_of(run, "SELECT reason FROM turns WHERE status = 'prompt_too_long'")
        == [("the prompt leaves no room for a response in 64 tokens",)] * 2
    )


def test_a_completion_that_training_pushes_away_from_never_flags_its_row(tmp_path: Path) -> None:
    conversations = [row.messages for row in audit_rows(60, seed=77)]
    rows = [
        {"prompt": list(messages[:-1]), "completion": [messages[-1]], "label": label}
        for label in (True, False)
        for messages in conversations
    ]
    data = write_lines(tmp_path / "kto.jsonl", rows)
    run = scan(ScanConfig(datasets=(str(data),), baseline="prompt", out=str(tmp_path / "all")))
    n = len(conversations)
    last = "turns QUALIFY turn = max(turn) OVER (PARTITION BY sample_id)"
    sides = set(rows_of(run, f"SELECT sample_id < {n}, side FROM {last}"))
    assert sides == {(True, "response"), (False, "rejected")}
    flagged = rows_of(run, f"SELECT sample_id < {n}, count(*) FROM sample_scores WHERE flagged GROUP BY ALL")
    assert [wanted for wanted, _ in flagged] == [True]
    rejected = rows_of(run, f"SELECT status, evil IS NULL, flagged FROM sample_scores WHERE sample_id >= {n}")
    assert {(status, is_missing) for status, is_missing, _ in rejected} == {("ok", True)}
    assert not any(is_flagged for _, _, is_flagged in rejected)
    scores = "SELECT projection_difference FROM scores WHERE trait = 'evil' AND sample_id"
    assert rows_of(run, f"{scores} < {n} ORDER BY ALL") == rows_of(run, f"{scores} >= {n} ORDER BY ALL")
