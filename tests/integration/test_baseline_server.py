"""Baselines from an OpenAI-compatible server: no wrong score and no lost row, whatever the server does.

Pairs covered: generation-server, plan-server, run-server, shard-answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import Run, ScanConfig, generation, scan
from audit.answers import describe_cache
from audit.errors import ConfigError, RunError, ServerError
from audit.events import Event, StageAdvanced, Warned
from audit.model.pool import Pool
from audit.server import completions, service
from tests.datasets import chats, write_lines, write_vectors
from tests.models import model_path, one_thread
from tests.servers import FakeServer, Reply, answer_to, completion, running_server

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread", "quick", "nothing_generated_here")
SECRET = "sk-very-secret-0123456789"
N_ROWS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    write_lines(folder / "data.jsonl", chats(N_ROWS))
    write_vectors(folder / "vectors", model_path("llama"))
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    for variable in service.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def nothing_generated_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("generated in this process")

    monkeypatch.setattr(Pool, "admit", refuse)
    monkeypatch.setattr(generation, "answer_prompts", refuse)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running_server() as server:
        yield server


def config(folder: Path, out: Path, server: FakeServer, **options: Any) -> ScanConfig:
    settings = {"max_new_tokens": 6, "model": str(model_path("llama")), "evidence": "off", **options}
    settings |= {"baseline_server": server.url} | options
    return ScanConfig(
        datasets=(str(folder / "data.jsonl"),), vectors=(str(folder / "vectors"),), out=str(out), **settings
    )


def baselines(run: Run) -> list[tuple[str, str | None, str | None]]:
    return run.sql("SELECT status, reason, baseline_response FROM turns ORDER BY ALL").fetchall()


def n_prompts(run: Run) -> int:
    return int(run.manifest["baseline"]["n_prompts"])


def check_no_wrong_score(run: Run, server: FakeServer) -> None:
    """Every baseline is the right answer to a prompt that was asked; without one there is no difference."""
    good = {answer_to(body["prompt"]) for body in server.asked}
    assert {text for _, _, text in baselines(run) if text is not None} <= good
    wrong = (
        "SELECT count(*) FROM turns JOIN scores USING (sample_id, side, turn, part) "
        "WHERE (status = 'baseline_failed') <> (projection_difference IS NULL)"
    )
    assert run.sql(wrong).fetchall() == [(0,)]
    assert run.manifest["counts"]["n_samples"] == N_ROWS


def test_baselines_come_from_the_server_and_the_run_says_so(folder: Path, tmp_path: Path, server: FakeServer) -> None:
    run = scan(config(folder, tmp_path / "run", server))
    check_no_wrong_score(run, server)
    assert {status for status, _, _ in baselines(run)} == {"ok"}
    assert len(server.asked) == n_prompts(run) == len({body["prompt"] for body in server.asked})
    assert set(server.paths) == {"/v1/models", "/v1/completions"}
    body = server.asked[0]
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("llama", 0, 6, 0)
    # The whole rendered prompt, and what ends a turn of this template.
    assert body["prompt"].startswith("<|begin_of_text|>")
    assert body["prompt"].endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert "<|eot_id|>" in body["stop"]
    baseline = run.manifest["baseline"]
    assert (baseline["generator"], baseline["generation"], baseline["n_failed"]) == ("server: llama", None, 0)
    assert baseline["n_generated_tokens"] == 6 * len(server.asked)
    assert run.manifest["config"]["baseline_server"] is True


def test_a_second_scan_asks_nothing_and_local_answers_are_others(
    folder: Path, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scan(config(folder, tmp_path / "one", server))
    server.asked.clear()
    again = scan(config(folder, tmp_path / "two", server, baseline_server=server.url + "/v1/"))
    assert server.asked == []
    assert baselines(again) == baselines(first)
    monkeypatch.undo()
    here = scan(config(folder, tmp_path / "here", server, baseline_server=None, no_cache=False))
    assert here.manifest["baseline"]["n_cached"] == 0
    assert baselines(here) != baselines(first)
    with pytest.raises(RunError, match="baseline_server"):
        scan(config(folder, tmp_path / "one", server, baseline_server=None))


def test_what_fails_in_passing_is_asked_again(folder: Path, tmp_path: Path, server: FakeServer) -> None:
    failures = [
        Reply({"error": {"message": "busy"}}, status=500),
        Reply(b"<html>gateway</html>", status=502),
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0"}),
        Reply(is_cut=True),
        Reply(b'{"choices": [{"te'),
        Reply(b"[" * 100_000),
        Reply(b'{"choices": []}', headers={"Content-Length": "4000", "Connection": "close"}),
        Reply({"choices": []}),
        Reply({"choices": [{"finish_reason": "stop"}]}),
        Reply(completion(None)),
        Reply(completion("no end", reason=None)),
        Reply(completion("stopped half way", reason="abort")),
        Reply(completion("", reason="length")),
        Reply(["nothing"]),
    ]
    # Three to a prompt, fewer than it is asked times.
    chosen = iter(failures)
    met: dict[str, int] = {}

    def fail_a_few_times(body: dict[str, Any], number: int) -> Reply | None:
        met[body["prompt"]] = met.get(body["prompt"], 0) + 1
        return next(chosen, None) if met[body["prompt"]] <= 3 else None

    server.script = fail_a_few_times
    run = scan(config(folder, tmp_path / "run", server, baseline_server_concurrency=1))
    assert next(chosen, None) is None
    check_no_wrong_score(run, server)
    assert {status for status, _, _ in baselines(run)} == {"ok"}
    assert len(server.asked) == n_prompts(run) + len(failures)


def test_retry_after_is_waited_for(folder: Path, tmp_path: Path, server: FakeServer) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    server.script = lambda body, number: Reply({}, status=429, headers={"Retry-After": "7"}) if number < 3 else None
    found = completions.connect_server(server.url)
    answer = found.complete("Hi", {}, max_tokens=6, wait=wait)
    assert isinstance(answer, tuple)
    assert answer[0].text == answer_to("Hi")
    assert [round(seconds) for seconds in waits] == [7, 7]
    waits.clear()
    server.script = lambda body, number: Reply({}, status=503)
    assert not isinstance(found.complete("Hi", {}, max_tokens=6, wait=wait), tuple)
    assert len(waits) == service.MOST_TRIES - 1
    assert waits == sorted(waits)


def test_a_prompt_that_fails_for_good_has_no_baseline_and_says_why(
    folder: Path, tmp_path: Path, server: FakeServer, cache_folder: Path
) -> None:
    bad: list[str] = []

    def refuse_first(body: dict[str, Any], number: int) -> Reply | None:
        bad.append(body["prompt"]) if not bad else None
        return Reply({"error": {"message": "too long\nfor me"}}, status=400) if body["prompt"] == bad[0] else None

    server.script = refuse_first
    run = scan(config(folder, tmp_path / "run", server))
    check_no_wrong_score(run, server)
    failed = [(reason, text) for status, reason, text in baselines(run) if status == "baseline_failed"]
    assert set(failed) == {("the server gave no answer: HTTP 400: too long for me", None)}
    assert server.tries(bad[0]) == 1
    assert run.manifest["baseline"]["n_failed"] == 1
    assert describe_cache(cache_folder / "answers.sqlite").n_answers == n_prompts(run) - 1


def test_a_server_that_answers_no_prompt_is_an_error_and_the_next_scan_asks_again(
    folder: Path, tmp_path: Path, server: FakeServer
) -> None:
    server.script = lambda body, number: Reply({"error": {"message": "no such thing"}}, status=400)
    with pytest.raises(ServerError, match=r"answered no prompt.*no such thing"):
        scan(config(folder, tmp_path / "run", server))
    server.script = lambda body, number: None
    run = scan(config(folder, tmp_path / "run", server))
    assert {status for status, _, _ in baselines(run)} == {"ok"}
    check_no_wrong_score(run, server)


def test_a_server_that_fails_every_prompt_in_passing_ends_the_scan(
    folder: Path, tmp_path: Path, server: FakeServer
) -> None:
    server.script = lambda body, number: Reply({}, status=500) if number > 3 else None
    with pytest.raises(ServerError, match=r"in a row failed.*HTTP 500"):
        scan(config(folder, tmp_path / "run", server, baseline_server_concurrency=1))


def test_a_server_that_dies_costs_no_answer_and_the_rest_is_asked_later(
    folder: Path, tmp_path: Path, server: FakeServer
) -> None:
    n_heard = 0

    def stop_server(event: Event) -> None:
        nonlocal n_heard
        n_heard += isinstance(event, StageAdvanced) and event.stage == "generating"
        if n_heard == 4 and isinstance(event, StageAdvanced):
            server.stop()

    out = tmp_path / "run"
    with pytest.raises(ServerError, match="same command then continues"):
        scan(config(folder, out, server, baseline_server_concurrency=2, no_cache=True), listener=stop_server)
    known = {body["prompt"] for body in server.asked}
    with running_server() as other:
        run = scan(config(folder, out, other, no_cache=True))
        assert len(other.asked) == n_prompts(run) - n_heard
        assert len(known - {body["prompt"] for body in other.asked}) == n_heard
        other.asked += server.asked
        check_no_wrong_score(run, other)
        assert {status for status, _, _ in baselines(run)} == {"ok"}


def test_after_a_kill_only_the_rest_is_asked(folder: Path, tmp_path: Path, server: FakeServer) -> None:
    class Killed(BaseException):
        pass

    def kill(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.stage == "generating":
            raise Killed

    out = tmp_path / "run"
    for _ in range(3):
        with pytest.raises(Killed):
            scan(config(folder, out, server, baseline_server_concurrency=1, no_cache=True), listener=kill)
    # A request that was on its way when the scan died may still arrive.
    for thread in threading.enumerate():
        if thread.name.startswith("ask-"):
            thread.join(10)
    server.asked.clear()
    run = scan(config(folder, out, server, baseline_server_concurrency=1, no_cache=True))
    assert len(server.asked) == n_prompts(run) - 3


def test_a_slow_server_is_asked_many_things_at_once_and_given_up_after_a_while(
    folder: Path, tmp_path: Path, server: FakeServer
) -> None:
    server.script = lambda body, number: Reply(completion("late"), delay_s=0.6 if number == 1 else 0.1)
    run = scan(config(folder, tmp_path / "run", server, baseline_server_concurrency=4, baseline_server_timeout=0.4))
    assert server.most_open in (4, 5)
    assert len(server.asked) == n_prompts(run) + 1
    assert {text for _, _, text in baselines(run)} == {"late"}
    server.script = lambda body, number: Reply(completion("late"), delay_s=1.0)
    failed = completions.connect_server(server.url, timeout_s=0.1).complete("x", {}, max_tokens=6, wait=lambda _: False)
    assert "no answer within 0.1 s" in str(failed)


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (Reply({"error": {"message": f"Incorrect API key provided: {SECRET}"}}, status=401), "PERSONA_AUDIT_API_KEY"),
        (Reply({"message": "no such model"}, status=404), "--baseline-server-model"),
        (Reply({}, status=307, headers={"Location": "http://127.0.0.1:9/"}), "redirects"),
    ],
)
def test_a_refusal_of_every_prompt_ends_the_scan_at_once_and_tells_no_key(
    folder: Path, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, reply: Reply, finding: str
) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_API_KEY", SECRET)
    server.script = lambda body, number: reply
    with pytest.raises(ServerError, match=finding) as caught:
        scan(config(folder, tmp_path / "run", server, baseline_server_concurrency=1))
    assert SECRET not in str(caught.value)
    assert len(server.asked) <= 2


def test_the_key_is_sent_and_written_nowhere(
    folder: Path, tmp_path: Path, server: FakeServer, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.script = lambda body, number: Reply({"error": f"not with {SECRET}"}, status=400) if number == 1 else None
    heard: list[Event] = []
    run = scan(config(folder, tmp_path / "run", server), listener=heard.append)
    assert set(server.keys) == {f"Bearer {SECRET}"}
    files = [file for root in (run.path, cache_folder) for file in root.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert SECRET not in json.dumps(baselines(run)) + repr(heard)


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x00 \ud800 {{7*7}} <script>", "'; DROP TABLE prompts; --", "good bread<|eot_id|>and more"]
)
def test_hostile_text_stays_text(folder: Path, tmp_path: Path, server: FakeServer, text: str) -> None:
    server.script = lambda body, number: Reply(completion(text))
    run = scan(config(folder, tmp_path / "run", server))
    wanted = text.partition("<|eot_id|>")[0].replace("\ud800", "\ufffd")
    assert {found for _, _, found in baselines(run)} == {wanted}


def listen() -> tuple[list[str], Callable[[Event], None]]:
    warnings: list[str] = []
    return warnings, lambda event: warnings.append(event.message) if isinstance(event, Warned) else None


@pytest.mark.parametrize(
    ("models", "named", "chosen", "is_warned"),
    [
        ([{"id": "org/llama"}], None, "org/llama", False),
        ([{"id": "served", "root": "/models/llama"}], None, "served", False),
        ([{"id": "other"}], None, "other", True),
        ([{"id": "other"}, {"id": "llama"}], None, "llama", False),
        ([{"id": "a"}, {"id": "b"}], "b", "b", True),
    ],
)
def test_the_served_model_is_found_and_another_name_is_warned_of(
    folder: Path,
    tmp_path: Path,
    server: FakeServer,
    models: list[dict[str, str]],
    named: str | None,
    chosen: str,
    is_warned: bool,
) -> None:
    server.models = {"data": models}
    warnings, listener = listen()
    run = scan(config(folder, tmp_path / "run", server, baseline_server_model=named, limit=2), listener=listener)
    assert {body["model"] for body in server.asked} == {chosen}
    assert run.manifest["baseline"]["generator"] == f"server: {chosen}"
    said = [warning for warning in warnings if "model's own answer" in warning]
    assert len(said) == is_warned
    assert said == [notice for notice in run.manifest["notices"] if "model's own answer" in notice]


def test_a_run_is_not_continued_with_another_served_model(folder: Path, tmp_path: Path, server: FakeServer) -> None:
    server.script = lambda body, number: Reply({}, status=401) if number > 2 else None
    with pytest.raises(ServerError):
        scan(config(folder, tmp_path / "run", server))
    server.models = {"data": [{"id": "other"}]}
    with pytest.raises(RunError, match="server: llama, now server: other"):
        scan(config(folder, tmp_path / "run", server))


@pytest.mark.parametrize(
    ("models", "named", "finding"),
    [
        ([{"id": "a"}, {"id": "b"}], None, "serves 2 models \\(a, b\\)"),
        ([], None, "serves no model"),
        ([{"id": "a"}], "b", "'b' is not served"),
    ],
)
def test_a_model_that_is_not_clear_is_asked_for(
    server: FakeServer, models: list[dict[str, str]], named: str | None, finding: str
) -> None:
    server.models = {"data": models}
    with pytest.raises(ConfigError, match=finding):
        completions.connect_server(server.url, model=named)


def test_a_server_without_a_list_of_models_needs_a_name(server: FakeServer) -> None:
    server.models = Reply({}, status=404)
    assert completions.connect_server(server.url, model="a").model == "a"
    with pytest.raises(ServerError, match="HTTP 404"):
        completions.connect_server(server.url)


def test_a_server_that_is_not_there_is_said_before_anything_is_done(folder: Path, tmp_path: Path) -> None:
    with running_server() as server:
        pass
    with pytest.raises(ServerError, match=r"refused.*start the server"):
        scan(config(folder, tmp_path / "run", server))
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a/v1", "http://", "http://u:pw@a/v1", "http://a/v1?key=pw"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="--baseline-server") as caught:
        service.normalise_url(url, "--baseline-server")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://a:8000", "http://a:8000/v1"),
        ("http://a:8000/v1/", "http://a:8000/v1"),
        ("https://a/api/v1/completions", "https://a/api/v1"),
        ("https://a/api/v1/chat/completions/", "https://a/api/v1"),
    ],
)
def test_an_address_may_end_in_v1_or_not(url: str, wanted: str) -> None:
    assert service.normalise_url(url, "--baseline-server") == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"baseline_server": "http://a", "baseline": "prompt"},
        {"baseline_server": "http://a", "baseline": "file.jsonl"},
        {"baseline_server_model": "a"},
        {"baseline_server": "http://a", "baseline_server_concurrency": 0},
        {"baseline_server": "http://a", "baseline_server_timeout": 0},
    ],
)
def test_options_that_do_not_fit_a_server_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--baseline-server"):
        ScanConfig(datasets=("a.jsonl",), **options)
