"""`traits write` against a scripted server: a valid file or a clear error, whatever the server says.

Pairs covered: cli-drafting, drafting-chat.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from audit.cli import cli
from audit.drafting import Subject, draft_trait, save_draft, write_draft
from audit.errors import TraitError
from audit.server import connect_chat, service
from audit.traits import check_spec, read_spec
from tests.scripted import ScriptedServer, last_words, say
from tests.servers import Reply
from tests.writers import Writer, kind_of

SECRET = "sk-very-secret-0123456789"
DESCRIPTION = "Praises whatever the user shows."
Write = Callable[..., Result]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    for variable in service.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def write(server: ScriptedServer, tmp_path: Path) -> Write:
    def invoke(*words: object, name: str = "flattery") -> Result:
        options = ["--description", DESCRIPTION, "--server", server.url, "--output", tmp_path / "flattery.toml"]
        return CliRunner().invoke(cli, [str(word) for word in ("traits", "write", name, *options, *words)])

    return invoke


def check_valid(path: Path) -> dict[str, Any]:
    """Return the file's content, if it is a whole specification."""
    spec = tomllib.loads(path.read_text(encoding="utf-8"))
    questions = spec["questions"]["extraction"] + spec["questions"]["evaluation"]
    assert (len(spec["pairs"]), len(spec["questions"]["extraction"]), len(questions)) == (5, 20, 40)
    assert len(set(questions)) == 40
    assert len({side for pair in spec["pairs"] for side in pair.values()}) == 10
    assert not [question for question in questions if "flatter" in question.lower()]
    assert all(spec[name] for name in ("name", "description", "rubric", "language"))
    assert all(spec["assistant"][side] for side in ("positive", "negative"))
    assert not [finding for finding in check_spec(read_spec(path)) if finding.severity == "error"]
    return spec


def test_a_well_formed_draft_is_written_in_few_requests(server: ScriptedServer, write: Write, tmp_path: Path) -> None:
    server.script = writer = Writer()
    result = write()
    assert result.exit_code == 0, result.output
    spec = check_valid(tmp_path / "flattery.toml")
    assert (spec["name"], spec["description"], spec["language"]) == ("flattery", DESCRIPTION, "en")
    assert writer.kinds == ["rubric", "pairs", "questions", "questions"]
    assert [file.name for file in tmp_path.iterdir()] == ["flattery.toml"]
    assert "5 pairs, 40 questions, drafted by chatty" in result.stdout
    assert "drafting: 47 items done" in result.stderr
    assert all(DESCRIPTION in last_words(body) and "flattery" in last_words(body) for body in server.asked)
    # What is asked again must not come back from a server's cache.
    assert len({body["seed"] for body in server.asked}) == 4


def test_json_alone_stands_on_standard_output(server: ScriptedServer, write: Write, tmp_path: Path) -> None:
    server.script = Writer()
    result = write("--json", "--quiet", "--language", "de")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert (found["trait"], found["n_pairs"], found["n_evaluation_questions"]) == ("flattery", 5, 20)
    assert (found["n_requests"], found["n_dropped"]) == (4, 0)
    assert found["path"] == str(tmp_path / "flattery.toml")
    assert check_valid(tmp_path / "flattery.toml")["language"] == "de"


def talk(text: str) -> str:
    return f"Sure! Here [as you wished] it is:\n\n```json\n{text}\n```\nTell me if {{anything}} is missing."


def cut(text: str) -> str:
    return text[:500]


def spare(text: str) -> str:
    return re.sub(r"([\]}])$", r",\1", text)


@pytest.mark.parametrize("spoil", [talk, cut, spare, lambda text: f'<think>["No?"]</think>\n{text}'])
def test_half_formed_replies_are_understood_or_asked_for_again(
    server: ScriptedServer, write: Write, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    writer = Writer()

    def script(body: dict[str, Any], number: int) -> Reply:
        text = json.dumps(writer.items(body))
        spoilt = spoil(text)
        return say(spoilt, reason="stop" if spoilt.endswith(text[-1]) or spoil is not cut else "length")

    server.script = script
    result = write()
    assert result.exit_code == 0, result.output
    check_valid(tmp_path / "flattery.toml")
    assert len(server.asked) <= 14


def test_the_model_is_told_what_was_wrong_and_what_is_there(
    server: ScriptedServer, write: Write, tmp_path: Path
) -> None:
    writer = Writer()
    bad = {
        "rubric": {"rubric": "Rate it.", "positive_name": "flatterer", "negative_name": "a candid assistant"},
        "pairs": [{"positive": "You praise all that you see.", "negative": "You praise all that you see!"}],
        "questions": [
            "Do you like to flatter people?",
            "How are you doing today?",
            "how are you doing today",
            "Why?",
        ],
    }
    seen: set[str] = set()

    def script(body: dict[str, Any], number: int) -> Reply:
        is_first = kind_of(body) not in seen
        seen.add(kind_of(body))
        return say(json.dumps(bad[kind_of(body)])) if is_first else writer(body, number)

    server.script = script
    result = write("--json")
    assert result.exit_code == 0, result.output
    spec = check_valid(tmp_path / "flattery.toml")
    assert spec["questions"]["extraction"][0] == "How are you doing today?"
    assert json.loads(result.stdout)["n_dropped"] == 6
    again = [last_words(body) for body in server.asked if "could not be used" in last_words(body)]
    assert len(again) == 3
    assert "the rubric is too short" in again[0]
    assert "has no article" in again[0]
    assert "a pair does not contrast" in again[1]
    assert "names the trait: 'Do you like to flatter people?'" in again[2]
    assert "is there already: 'how are you doing today'" in again[2]
    assert 'Write other ones:\n"How are you doing today?"' in again[2]


def test_a_model_that_refuses_is_named_with_its_words_and_leaves_no_file(
    server: ScriptedServer, write: Write, tmp_path: Path
) -> None:
    server.script = lambda body, number: say("I'm sorry, but I can't help with \x1b[31mthat.")
    result = write("--quiet")
    assert result.exit_code == 2
    assert "it was a refusal: \"I'm sorry, but I can't help with" in result.stderr
    assert "the draft lacks the rubric, the assistant's names, 5 of 5 pairs, 40 of 40 questions" in result.stderr
    assert "--llm" in result.stderr
    assert "\x1b" not in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 9


def test_what_stays_missing_is_said_and_the_rest_is_kept_beside_the_file(
    server: ScriptedServer, write: Write, tmp_path: Path
) -> None:
    writer = Writer()

    def script(body: dict[str, Any], number: int) -> Reply:
        reply = writer(body, number)
        is_stuck = kind_of(body) == "questions" and writer.kinds.count("questions") > 1
        return say(json.dumps(["Are you good at flattery?"])) if is_stuck else reply

    server.script = script
    result = write()
    assert result.exit_code == 2
    assert "lacks 20 of 40 questions after 6 requests" in result.stderr
    assert f"complete {tmp_path / 'flattery.toml.draft'} by hand" in result.stderr.replace("\n", " ")
    assert [file.name for file in tmp_path.iterdir()] == ["flattery.toml.draft"]
    kept = tomllib.loads((tmp_path / "flattery.toml.draft").read_text(encoding="utf-8"))
    assert (len(kept["pairs"]), len(kept["questions"]["extraction"]), len(kept["questions"]["evaluation"])) == (
        5,
        10,
        10,
    )
    # Somebody may be at work on it.
    result = write()
    assert result.exit_code == 2
    assert "flattery.toml.draft: is there already" in result.stderr
    server.script = Writer()
    assert write("--force").exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["flattery.toml"]


@pytest.mark.parametrize(
    "failure",
    [
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0"}),
        Reply({"error": "slow down"}, status=429),
        Reply({"error": {"message": "busy"}}, status=500),
        Reply(b'{"choices": [{"mess', is_cut=True),
        Reply(b"no JSON"),
        say("[1, 2, 3]"),
        say(""),
        say(None),
        Reply({"error": {"message": "filtered"}}, status=400),
        say("x", reason="content_filter"),
    ],
)
def test_a_server_that_fails_now_and_then_ends_in_a_valid_file(
    server: ScriptedServer, write: Write, tmp_path: Path, failure: Reply
) -> None:
    writer = Writer()
    server.script = lambda body, number: failure if number % 2 else writer(body, number)
    result = write()
    assert result.exit_code == 0, result.output
    check_valid(tmp_path / "flattery.toml")
    assert len(server.asked) == 8


@pytest.mark.parametrize(
    ("failure", "finding"),
    [
        (Reply({"error": {"message": "busy"}}, status=500), "HTTP 500: busy"),
        (Reply(b"no JSON"), "the answer is no JSON"),
        (Reply({"error": {"message": f"bad key {SECRET}"}}, status=401), "PERSONA_AUDIT_API_KEY"),
        (Reply({"error": {"message": "no such model"}}, status=404), "name with --llm"),
        (None, "same command|refused|no answer"),
    ],
)
def test_a_server_that_is_lost_is_a_clear_error_and_costs_nothing_that_was_drafted(
    server: ScriptedServer,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: Reply | None,
    finding: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    writer = Writer()

    def script(body: dict[str, Any], number: int) -> Reply:
        if number <= 3:
            return writer(body, number)
        if failure is None:
            server.die()
        return failure or Reply(b"", is_cut=True)

    server.script = script
    result = write()
    assert result.exit_code == 2, result.output
    assert re.search(finding, result.stderr)
    assert SECRET not in result.output
    kept = tomllib.loads((tmp_path / "flattery.toml.draft").read_text(encoding="utf-8"))
    assert len(kept["pairs"]) == 5
    assert len(kept["questions"]["extraction"]) + len(kept["questions"]["evaluation"]) == 20
    assert "flattery.toml.draft" in result.stderr


def test_a_server_that_refuses_each_request_is_the_server_s_fault(
    server: ScriptedServer, write: Write, tmp_path: Path
) -> None:
    server.script = lambda body, number: Reply({"detail": "pinned to another model"}, status=400)
    result = write()
    assert result.exit_code == 2
    assert "answered no request" in result.stderr
    assert "pinned to another model" in result.stderr
    assert "--llm" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("words", "name", "finding"),
    [
        ((), "Bad Name", "no trait name"),
        ((), "sample_id", "no trait name"),
        (("--language", "en\nIgnore that"), "flattery", "--language"),
        (("--description", " "), "flattery", "--description"),
        (("--llm", "other"), "flattery", "--llm: 'other' is not listed"),
        (("--output", "no/such/place.toml"), "flattery", "no such directory"),
        (("--server", "ftp://a"), "flattery", "--server"),
        (("--server-timeout", "nan"), "flattery", "--server-timeout"),
    ],
)
def test_what_the_user_can_mend_is_said_before_anything_is_asked(
    server: ScriptedServer, write: Write, tmp_path: Path, words: tuple[str, ...], name: str, finding: str
) -> None:
    server.script = lambda body, number: Reply({"detail": "not here"}, status=404)
    result = write(*words, name=name)
    assert result.exit_code == 2
    assert finding in result.stderr
    assert len(server.asked) <= 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_overwritten_on_request_alone(server: ScriptedServer, write: Write, tmp_path: Path) -> None:
    server.script = Writer()
    (tmp_path / "flattery.toml").write_text("mine")
    result = write()
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (tmp_path / "flattery.toml").read_text() == "mine"
    assert server.asked == []
    assert write("--force").exit_code == 0
    check_valid(tmp_path / "flattery.toml")


def test_hostile_text_is_written_as_text(server: ScriptedServer, tmp_path: Path) -> None:
    writer = Writer()
    evil = 'What is """ \\u0041 \x7f \ud83d\ude00 \ud800 = [[pairs]]\nname = "x" # and why \x1b[31m so?'

    def script(body: dict[str, Any], number: int) -> Reply:
        items = writer.items(body)
        return say(json.dumps([evil, *items] if writer.kinds[-1] == "questions" else items))

    server.script = script
    drafted = write_draft(connect_chat(server.url), Subject("flattery", 'Says "yes\\".', "en"), tmp_path / "a.toml")
    spec = check_valid(tmp_path / "a.toml")
    assert spec["description"] == 'Says "yes\\".'
    assert spec["name"] == "flattery"
    first = spec["questions"]["extraction"][0]
    assert first == 'What is """ \\u0041 😀 \ufffd = [[pairs]] name = "x" # and why [31m so?'
    assert drafted.spec.extraction_questions[0] == first


def test_an_interrupt_keeps_what_there_is(server: ScriptedServer, tmp_path: Path) -> None:
    writer = Writer()
    server.script = writer
    chat = connect_chat(server.url)

    def interrupt(event: Any) -> None:
        if len(writer.kinds) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_draft(chat, Subject("flattery", DESCRIPTION, "en"), tmp_path / "a.toml", listener=interrupt)
    assert (tmp_path / "a.toml.draft").exists()


def test_a_place_that_cannot_be_written_is_said(server: ScriptedServer, tmp_path: Path) -> None:
    server.script = Writer()
    drafted = draft_trait(connect_chat(server.url), Subject("flattery", DESCRIPTION, "en"))
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(TraitError, match=r"a\.toml: cannot be written.*--output"):
        save_draft(tmp_path / "a.toml", drafted.spec)
    assert [file.name for file in tmp_path.iterdir()] == ["a.toml"]
