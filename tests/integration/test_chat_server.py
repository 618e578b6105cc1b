"""A chat model behind a scripted server: no wrong answer and no endless waiting, whatever the server does.

Pairs covered: chat-service, service-wire, asking-chat.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from audit.answers import FailedAnswer
from audit.errors import ConfigError, ServerError
from audit.server import ChatAnswer, ask_many, connect_chat, service
from audit.server.service import OptionNames
from tests.scripted import ScriptedServer, last_words, say, scripted_server
from tests.servers import Reply

SECRET = "sk-very-secret-0123456789"
HELLO = [{"role": "user", "content": "Hello?"}]
LIMITS: dict[str, Any] = {"max_tokens": 8, "temperature": 0.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    for variable in service.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_a_conversation_is_sent_as_it_is_and_the_answer_comes_back(server: ScriptedServer) -> None:
    server.script = lambda body, number: say("Good day.", logprobs={"Good": -0.1, "Hi": -2.5})
    messages = [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "Hi \ud800 there"}]
    answer = connect_chat(server.url).ask(messages, max_tokens=8, temperature=0.5, n_logprobs=5, seed=3)
    assert answer == ChatAnswer("Good day.", True, {"Good": -0.1, "Hi": -2.5})
    assert server.paths == ["/v1/models", "/v1/chat/completions"]
    assert server.asked == [
        {
            "model": "chatty",
            "messages": [messages[0], {"role": "user", "content": "Hi \ufffd there"}],
            "max_tokens": 8,
            "temperature": 0.5,
            "stream": False,
            "seed": 3,
            "logprobs": True,
            "top_logprobs": 5,
        }
    ]


def test_a_server_that_ignores_logprobs_is_noticed(server: ScriptedServer) -> None:
    assert connect_chat(server.url).ask(HELLO, n_logprobs=20, **LIMITS) == ChatAnswer("Hello.", True, None)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": []},
        {"content": None},
        {"content": [7]},
        {"content": [{"token": 3, "logprob": -1.0, "top_logprobs": "x"}]},
        {"content": [{"token": "a", "logprob": math.nan}]},
        {"content": [{"token": "a", "logprob": True, "top_logprobs": [None, {}, {"token": "b"}]}]},
        [],
    ],
)
def test_probabilities_that_cannot_be_such_are_none(server: ScriptedServer, logprobs: Any) -> None:
    reply = say("a")
    reply.body["choices"][0]["logprobs"] = logprobs
    server.script = lambda body, number: reply
    assert connect_chat(server.url).ask(HELLO, n_logprobs=20, **LIMITS) == ChatAnswer("a", True, None)


def test_what_fails_in_passing_is_asked_again(server: ScriptedServer) -> None:
    good = say("At last.")
    failures = [
        Reply({"error": {"message": "busy"}}, status=500),
        Reply(b"<html>gateway</html>", status=502),
        Reply({"error": "slow down"}, status=429),
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0"}),
        Reply(b'{"choices": [{"mess', is_cut=True),
        Reply(b'{"choices": [{"mess'),
        Reply(["nothing"]),
        Reply({"choices": []}),
        Reply({"choices": [{"message": {}, "finish_reason": "stop"}]}),
        say(17),
        say("half way", reason="abort"),
        say("no end", reason=None),
    ]
    chat = connect_chat(server.url)
    # Four to a question, fewer than it is asked times.
    for first in range(0, len(failures), 4):
        rest = iter(failures[first : first + 4])
        server.script = lambda body, number, rest=rest: next(rest, good)
        assert chat.ask(HELLO, **LIMITS) == ChatAnswer("At last.", True)
        assert next(rest, None) is None
    assert len(server.asked) == len(failures) + 3


def test_a_failure_that_stays_ends_after_some_tries_and_says_why(server: ScriptedServer) -> None:
    waits: list[float] = []
    server.script = lambda body, number: Reply({"error": {"message": "no\nroom"}}, status=503)
    outcome = connect_chat(server.url).ask(HELLO, wait=lambda seconds: bool(waits.append(seconds)), **LIMITS)
    assert outcome == FailedAnswer("the server gave no answer: HTTP 503: no room", is_passing=True)
    assert len(server.asked) == service.MOST_TRIES == len(waits) + 1
    server.script = lambda body, number: Reply({}, status=429, headers={"Retry-After": "7"})
    connect_chat(server.url).ask(HELLO, wait=lambda seconds: bool(waits.append(seconds)) or seconds > 6, **LIMITS)
    assert round(waits[-1]) == 7


def test_a_request_that_is_refused_for_itself_is_not_asked_again(server: ScriptedServer) -> None:
    server.script = lambda body, number: Reply({"error": {"message": "too long"}}, status=400)
    outcome = connect_chat(server.url).ask(HELLO, **LIMITS)
    assert outcome == FailedAnswer("the server gave no answer: HTTP 400: too long", is_passing=False)
    assert len(server.asked) == 1
    server.script = lambda body, number: say("", reason="content_filter")
    assert isinstance(connect_chat(server.url).ask(HELLO, **LIMITS), FailedAnswer)
    assert len(server.asked) == 2


def test_options_that_a_server_refuses_aloud_are_left_out(server: ScriptedServer) -> None:
    def refuse(body: dict[str, Any], number: int) -> Reply:
        if "logprobs" in body or "top_logprobs" in body:
            return Reply({"error": {"message": "logprobs are not supported with this model"}}, status=400)
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return Reply({"error": {"message": message}}, status=400)
        if "seed" in body:
            return Reply({"detail": "seed: extra inputs are not permitted"}, status=422)
        return say(f"at most {body['max_completion_tokens']}")

    server.script = refuse
    answer = connect_chat(server.url).ask(HELLO, n_logprobs=20, seed=0, **LIMITS)
    assert answer == ChatAnswer("at most 8", True, None)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("message", "reason", "wanted"),
    [
        ({"content": "cut o"}, "length", ChatAnswer("cut o", False)),
        ({"content": None, "reasoning_content": "Let me think"}, "length", ChatAnswer("", False)),
        ({"content": None, "refusal": "I can't."}, "stop", ChatAnswer("I can't.", True)),
        ({"content": None, "tool_calls": []}, "tool_calls", ChatAnswer("", False)),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "image"}, "x", {"text": "b"}]},
            "stop",
            ChatAnswer("ab", True),
        ),
        ({"content": "\x1b[31mred\x00 \ud800"}, "stop", ChatAnswer("\x1b[31mred\x00 \ufffd", True)),
    ],
)
def test_what_servers_make_of_an_answer_is_understood(
    server: ScriptedServer, message: dict[str, Any], reason: str, wanted: ChatAnswer
) -> None:
    server.script = lambda body, number: Reply({"choices": [{"message": message, "finish_reason": reason}]})
    assert connect_chat(server.url).ask(HELLO, **LIMITS) == wanted


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (Reply({"error": {"message": f"Incorrect API key provided: {SECRET}"}}, status=401), "PERSONA_AUDIT_API_KEY"),
        (Reply({"message": "no such model"}, status=404), "no such model.*--judge-model"),
        (Reply({}, status=307, headers={"Location": "http://127.0.0.1:9/"}), "redirects"),
    ],
)
def test_a_refusal_of_everything_is_an_error_that_names_the_option_and_no_key(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, reply: Reply, finding: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.script = lambda body, number: reply
    chat = connect_chat(server.url, options=OptionNames("--judge-server", "--judge-model"))
    with pytest.raises(ServerError, match=finding) as caught:
        chat.ask(HELLO, **LIMITS)
    assert SECRET not in str(caught.value) + repr(chat)
    assert len(server.asked) == 1
    assert set(server.keys) == {f"Bearer {SECRET}"}


def test_a_model_that_is_not_listed_is_tried_before_it_is_refused(server: ScriptedServer) -> None:
    names = OptionNames("--server", "--llm")
    # `transformers serve` lists nothing of a directory that it was started with.
    server.models = {"data": []}
    assert connect_chat(server.url, model="dir/model").model == "dir/model"
    server.models = {"data": [{"id": "a"}, {"id": "b"}]}
    assert connect_chat(server.url, model="dir/model").model == "dir/model"
    server.script = lambda body, number: Reply({"error": {"message": "model 'c' does not exist"}}, status=404)
    with pytest.raises(ConfigError, match=r"--llm: 'c' is not listed.*does not exist.*the server lists a, b"):
        connect_chat(server.url, model="c", options=names)
    server.script = lambda body, number: Reply({"detail": "pinned to a"}, status=400)
    with pytest.raises(ConfigError, match="pinned to a"):
        connect_chat(server.url, model="c", options=names)
    with pytest.raises(ConfigError, match=r"serves 2 models \(a, b\).*--llm"):
        connect_chat(server.url, options=names)
    server.models = Reply({}, status=404)
    assert connect_chat(server.url, model="c").model == "c"
    with pytest.raises(ServerError, match="HTTP 404"):
        connect_chat(server.url)


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with scripted_server() as server:
        pass
    with pytest.raises(ServerError, match=r"refused.*start the server"):
        connect_chat(server.url, model="chatty")


def test_many_are_asked_at_once_and_a_death_in_between_is_an_error(server: ScriptedServer) -> None:
    server.script = lambda body, number: say(last_words(body).upper())
    chat = connect_chat(server.url)

    def ask(text: str, wait: service.Wait) -> ChatAnswer | FailedAnswer:
        return chat.ask([{"role": "user", "content": text}], wait=wait, **LIMITS)

    found = dict(ask_many(chat, [f"word {n}" for n in range(20)], ask, n_threads=4))
    assert found == {f"word {n}": ChatAnswer(f"WORD {n}", True) for n in range(20)}
    asked = ask_many(chat, (f"again {n}" for n in range(100)), ask, n_threads=2)
    next(asked)
    server.die()
    with pytest.raises(ServerError, match="same command then continues"):
        list(asked)
