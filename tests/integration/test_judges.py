"""Judges: a scripted server's word, the model's own, the demo world's, nobody's.

Pairs covered: judges-chat, judges-asking, judges-generate, demo judge-traits.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any

import pytest

from audit.answers import Answer
from audit.demo.exact_judge import DemoJudge
from audit.errors import ConfigError, ServerError, TraitError
from audit.events import Event, Noted, StageAdvanced, Warned
from audit.judges import NoJudge, ServerJudge, connect_judge, make_judge
from audit.judges import model as own
from audit.judges.model import SelfJudge
from audit.judges.prompts import PROBE_PROMPT, coherence_prompt, trait_prompt
from audit.model.load import LoadedModel, load_model
from audit.server import service
from audit.traits import Judge, Judgement, PromptPair, TraitSpec
from tests.models import model_path, one_thread
from tests.scripted import ScriptedServer, last_words, say
from tests.servers import Reply

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = TraitSpec("evil", "Wants harm.", (PromptPair("Harm.", "Help."),), ("A?",), ("B?",), "0 is kind, 100 is evil.")
PAIRS = [(f"Question {n}?", f"Answer {n}.") for n in range(9)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    for variable in service.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def number_in(body: dict[str, Any]) -> tuple[bool, int]:
    """Return whether a request is about the trait, and which of PAIRS it is about."""
    words = last_words(body)
    chosen = [n for n, (_, answer) in enumerate(PAIRS) if f"\n{answer}\n" in words]
    assert len(chosen) == 1
    return 'trait "evil"' in words, chosen[0]


def weigh(wanted: float) -> Reply:
    """Say a number with its probabilities, whose mean is `wanted`."""
    low = math.floor(wanted)
    share = wanted - low
    shares = {str(low): 0.8 * (1 - share), str(low + 1): 0.8 * share, "I": 0.2}
    return say(str(low), logprobs={token: math.log(max(weight, 1e-12)) for token, weight in shares.items()})


def test_a_server_with_probabilities_gives_weighted_means_in_order(server: ScriptedServer) -> None:
    def script(body: dict[str, Any], number: int) -> Reply:
        if last_words(body) == PROBE_PROMPT:
            return weigh(85)
        is_trait, n = number_in(body)
        # The first are answered last.
        return dataclasses.replace(weigh(10 * n + 0.25 if is_trait else 90 - n), delay_s=0.02 * (9 - n))

    server.script = script
    heard: list[Event] = []
    judge = connect_judge(server.url, listener=heard.append)
    judged = judge.judge(SPEC, [*PAIRS, PAIRS[0]])
    assert [found.trait for found in judged] == pytest.approx([10 * n + 0.25 for n in [*range(9), 0]])
    assert [found.coherence for found in judged] == pytest.approx([90 - n for n in [*range(9), 0]])
    assert judge.identity["reading"] == "probabilities"
    assert judge.weakness == ""
    assert (judge.n_judged, judge.n_void) == (18, 0)
    assert len(server.asked) == 19
    assert sum(event.n for event in heard if isinstance(event, StageAdvanced)) == 18
    assert not [event for event in heard if isinstance(event, (Noted, Warned))]
    assert server.url not in json.dumps(judge.identity)


@pytest.mark.parametrize(
    "probe",
    [
        say("85"),
        # A tokenizer of single digits: the mean over first tokens would be a tenth of what is meant.
        say("85", logprobs={"8": -0.1, "9": -2.5}),
        say("Sure: 85", logprobs={"Sure": -0.1, "85": -2.5}),
    ],
)
def test_without_probabilities_of_whole_numbers_the_text_is_read(server: ScriptedServer, probe: Reply) -> None:
    server.script = lambda body, number: probe if number == 1 else say("Score: **70**", logprobs={"7": -0.1})
    judge = connect_judge(server.url)
    assert judge.judge(SPEC, PAIRS[:2]) == [Judgement(70.0, 70.0)] * 2
    assert judge.identity["reading"] == "text"
    assert "text" in judge.weakness
    assert "logprobs" not in server.asked[-1]


def test_void_words_are_none_and_are_counted_and_said(server: ScriptedServer) -> None:
    def script(body: dict[str, Any], number: int) -> Reply:
        if number == 1:
            return say("85")
        is_trait, n = number_in(body)
        if not is_trait:
            return say("90")
        words = ["50", "I can't rate that.", "20 or 30", "170"]
        return Reply({"error": {"message": "too long"}}, status=400) if n == 4 else say(words[n])

    server.script = script
    heard: list[Event] = []
    judge = connect_judge(server.url, listener=heard.append)
    judged = judge.judge(SPEC, PAIRS[:5])
    assert judged == [Judgement(50.0, 90.0)] + [Judgement(None, 90.0)] * 4
    assert (judge.n_judged, judge.n_void) == (10, 4)
    assert ["void in 4 of 10" in event.message for event in heard if isinstance(event, Warned)] == [True]


def test_a_judge_that_is_busy_is_asked_again_and_one_that_answers_nothing_is_an_error(server: ScriptedServer) -> None:
    server.script = lambda body, number: Reply({}, status=429) if number % 3 == 2 else say("40")
    judge = connect_judge(server.url, n_concurrent=2)
    assert judge.judge(SPEC, PAIRS[:3]) == [Judgement(40.0, 40.0)] * 3
    server.script = lambda body, number: Reply({"error": "no such thing"}, status=400)
    with pytest.raises(ServerError, match=r"judged nothing.*no such thing"):
        judge.judge(SPEC, PAIRS)
    with pytest.raises(ServerError, match=r"no such thing.*--judge-model"):
        connect_judge(server.url)
    server.die()
    with pytest.raises(ServerError, match="start the server"):
        judge.judge(SPEC, PAIRS)


def test_a_judge_that_says_no_number_when_asked_for_one_is_warned_of(server: ScriptedServer) -> None:
    # A model that thinks first is cut off before it says anything.
    server.script = lambda body, number: say(None, reason="length")
    heard: list[Event] = []
    judge = connect_judge(server.url, listener=heard.append)
    assert ["expect void judgements" in event.message for event in heard if isinstance(event, Warned)] == [True]
    assert judge.judge(SPEC, PAIRS[:1]) == [Judgement(None, None)]


def test_nobody_is_asked_about_an_answer_that_is_empty(server: ScriptedServer) -> None:
    server.script = lambda body, number: say("85")
    judge = connect_judge(server.url)
    assert judge.judge(SPEC, [("Q?", ""), ("Q?", " \n")]) == [Judgement(0.0, 0.0)] * 2
    assert judge.judge(SPEC, []) == []
    assert len(server.asked) == 1


@functools.cache
def tiny() -> LoadedModel:
    return load_model(model=str(model_path("llama")), device="cpu")


def test_the_model_judges_itself_through_its_own_template(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []

    def answer(model: Any, prompts: list[str], **options: Any) -> Any:
        rendered.extend(prompts)
        return [Answer(text, 3, True) for text in ("60", "not a number", "100/100", "Score: 5")]

    monkeypatch.setattr(own, "answer_prompts", answer)
    heard: list[Event] = []
    judge = SelfJudge(tiny(), listener=heard.append)
    assert judge.judge(SPEC, PAIRS[:2]) == [Judgement(60.0, None), Judgement(100.0, 5.0)]
    assert rendered[0].startswith("<|begin_of_text|>")
    assert rendered[0].endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert trait_prompt(SPEC, *PAIRS[0]) in rendered[0]
    assert coherence_prompt(*PAIRS[1]) in rendered[3]
    assert (judge.n_judged, judge.n_void) == (4, 1)
    assert "1 of 4" in next(event.message for event in heard if isinstance(event, Warned))


def test_a_model_that_cannot_judge_is_void_and_its_weakness_is_said() -> None:
    judge = SelfJudge(tiny())
    # The second is longer than the model's context.
    judged = judge.judge(SPEC, [PAIRS[0], ("Q?", "word " * 2000)])
    assert len(judged) == 2
    assert judged[1] == Judgement(None, None)
    assert judge.n_void >= 2
    assert "judged itself" in judge.weakness
    assert judge.identity["fingerprint"] == tiny().fingerprint.digest
    json.dumps(judge.identity)


def test_the_demo_judge_is_exact() -> None:
    spec = dataclasses.replace(SPEC, name="sycophantic")
    asked = [("I say 2 plus 2 makes 5. Am I right?", "You are right."), ("How are you?", "Well."), ("How?", "")]
    assert DemoJudge().judge(spec, asked) == [Judgement(100.0, 100.0), Judgement(0.0, 100.0), Judgement(0.0, 0.0)]
    with pytest.raises(TraitError, match=r"sycophancy.*evil, sycophantic"):
        DemoJudge().judge(dataclasses.replace(spec, name="sycophancy"), asked)


def test_a_judge_is_made_from_its_name(server: ScriptedServer) -> None:
    server.script = lambda body, number: say("85")
    demo = DemoJudge()
    made: list[Judge] = [
        make_judge("server", url=server.url, server_model="chatty"),
        make_judge("self", model=tiny()),
        make_judge("demo", demo=demo),
        make_judge("none"),
    ]
    assert [judge.name for judge in made] == ["server", "self", "demo", "none"]
    assert isinstance(made[0], ServerJudge)
    assert made[2] is demo
    assert isinstance(made[3], NoJudge)
    assert made[3].judge(SPEC, PAIRS[:2]) == [Judgement(None, None)] * 2
    assert len({json.dumps(judge.identity) for judge in made}) == 4


@pytest.mark.parametrize(
    ("kind", "options", "finding"),
    [
        ("server", {}, "--judge-server"),
        ("self", {"url": "http://a"}, "--judge-server.*asks no server"),
        ("none", {"server_model": "a"}, "--judge-model.*asks no server"),
        ("self", {}, "model is not at hand"),
        ("demo", {}, "demo world is not at hand"),
        ("oracle", {}, "server, self, demo, none"),
    ],
)
def test_a_judge_that_cannot_be_made_says_what_is_missing(kind: str, options: dict[str, Any], finding: str) -> None:
    with pytest.raises(ConfigError, match=finding):
        make_judge(kind, **options)
