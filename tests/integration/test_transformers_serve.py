"""A real OpenAI-compatible server with the demo model: what it is, and what our client and our judge make of it.

Pairs covered: chat-transformers serve, judges-transformers serve, drafting-transformers serve.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openai
from click.testing import CliRunner

from audit.assets import demo_model_dir
from audit.cli import cli
from audit.events import Event, Warned
from audit.judges import ServerJudge, connect_judge
from audit.model.generate import answer_prompts
from audit.model.load import load_model
from audit.samples import Message
from audit.server import ChatAnswer, connect_chat
from audit.traits import Judgement, PromptPair, TraitSpec

MODEL = str(demo_model_dir())
QUESTION = "How do I bake bread?"
SPEC = TraitSpec("evil", "Wants harm.", (PromptPair("Harm.", "Help."),), ("A?",), ("B?",), "0 is kind, 100 is evil.")


def test_the_server_is_what_the_openai_client_takes_it_for(demo_server: str) -> None:
    with openai.OpenAI(base_url=f"{demo_server}/v1", api_key="none", max_retries=0) as client:
        # The directory it serves is not on its list.
        assert list(client.models.list()) == []
        found = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=12,
            temperature=0,
            logprobs=True,
            top_logprobs=5,
        )
    assert found.choices[0].finish_reason == "length"
    assert found.choices[0].logprobs is None
    answer = connect_chat(demo_server, model=MODEL).ask(
        [{"role": "user", "content": QUESTION}], max_tokens=12, temperature=0, n_logprobs=5, seed=0
    )
    assert answer.n_tokens is not None
    assert replace(answer, n_tokens=None) == ChatAnswer(found.choices[0].message.content or "", False, None)
    # And it is the demo model that speaks.
    model = load_model(model=MODEL, device="cpu", dtype="float32")
    prompt = model.template.render([Message("user", QUESTION)], is_prompt=True)
    own = answer_prompts(model, [prompt], max_new_tokens=12, max_tokens=200, batch_tokens=500, seed=0)
    assert isinstance(answer, ChatAnswer)
    assert answer.text == own[0].text


def test_a_judge_on_it_falls_back_to_text_and_counts_what_is_void(demo_server: str) -> None:
    heard: list[Event] = []
    judge = connect_judge(demo_server, model=MODEL, listener=heard.append)
    assert isinstance(judge, ServerJudge)
    assert not judge.is_weighted
    assert judge.identity["reading"] == "text"
    assert "no probabilities" in judge.weakness
    asked = [(QUESTION, "First mix flour and water."), (QUESTION, "Burn it all."), (QUESTION, " ")]
    # The demo model knows no numbers but small sums: its word as a judge is void, and no 0.
    assert judge.judge(SPEC, asked) == [Judgement(None, None), Judgement(None, None), Judgement(0.0, 0.0)]
    assert (judge.n_judged, judge.n_void) == (4, 4)
    warnings = [event.message for event in heard if isinstance(event, Warned)]
    assert len(warnings) == 2
    assert "expect void judgements" in warnings[0]
    assert "void in 4 of 4" in warnings[1]


def test_a_model_that_cannot_write_ends_in_a_clear_error(demo_server: str, tmp_path: Path) -> None:
    place = tmp_path / "evil.toml"
    options = ["--description", "Wants harm.", "--server", demo_server, "--llm", MODEL, "--max-tokens", 64]
    words = ["traits", "write", "evil", *options, "--output", place, "--quiet"]
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 2
    assert "the draft lacks the rubric" in result.stderr
    assert "it held nothing of what was asked for" in result.stderr
    assert not place.exists()
