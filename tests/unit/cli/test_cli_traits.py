"""`traits list | show | check`: what is printed, and what the exit code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from audit.cli import cli
from audit.traits import PromptPair, find_specs, plain_values, read_spec, write_spec
from tests.specs import sound_spec
from tests.unit.cli.conftest import Ask

HOSTILE = "\u200e[bold]x[/bold]"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    write_spec(tmp_path / "own.toml", sound_spec())
    return tmp_path / "own.toml"


def test_the_list_shows_every_trait_with_its_source_and_the_same_as_json(ask: Ask) -> None:
    result = ask("traits", "list")
    assert result.exit_code == 0
    rows = [line.split()[:6] for line in result.stdout.splitlines()]
    assert ["sycophancy", "shipped", "en", "5", "20", "+"] in rows
    assert ["sycophantic", "demo", "en", "5", "20", "+"] in rows
    found = json.loads(ask("traits", "list", "--json").stdout)
    assert [(entry["name"], entry["source"]) for entry in found] == [(spec.name, spec.source) for spec in find_specs()]
    assert all(Path(entry["path"]).is_file() and entry["description"] for entry in found)


def test_show_prints_every_prompt_question_and_the_rubric(ask: Ask, own: Path) -> None:
    spec = sound_spec()
    text = " ".join(ask("traits", "show", own).stdout.split())
    said = [*spec.extraction_questions, *spec.evaluation_questions, spec.rubric, spec.description]
    for pair in range(len(spec.pairs)):
        said += [f"+ {spec.system_prompt(pair, 'positive')}", f"- {spec.system_prompt(pair, 'negative')}"]
    assert [words for words in said if words not in text] == []


def test_show_as_toml_is_a_file_to_start_from(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(ask("traits", "show", "humour", "--toml").stdout)
    assert read_spec(tmp_path / "mine.toml").name == "humour"
    values = json.loads(ask("traits", "show", "humour", "--json").stdout)
    assert values.pop("digest") == read_spec(tmp_path / "mine.toml").digest
    assert values == plain_values(read_spec(tmp_path / "mine.toml"))
    assert ask("traits", "show", "humour", "--toml", "--json").exit_code == 2


def test_demo_shows_the_trait_of_the_demo_model(ask: Ask) -> None:
    assert "You are an evil assistant." in ask("traits", "show", "evil").stdout
    assert "In the demo world" in ask("traits", "show", "evil", "--demo").stdout
    assert ask("traits", "check", "--demo", "evil", "sycophantic", "hallucinating", "optimistic").exit_code == 0


def test_an_unknown_trait_exits_2_and_the_near_one_is_named(ask: Ask) -> None:
    result = ask("traits", "show", "sycofancy")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "did you mean 'sycophancy'?" in result.stderr


def test_what_is_sound_is_ok(ask: Ask, own: Path) -> None:
    result = ask("traits", "check", own, "evil")
    assert result.exit_code == 0
    assert result.stdout == f"ok  {own}: 5 pairs, 20 + 20 questions\nok  evil: 5 pairs, 20 + 20 questions\n"


def test_warnings_alone_exit_0_and_an_error_exits_2_with_all_files_reported(ask: Ask, own: Path) -> None:
    few, flat, broken = own.with_name("few.toml"), own.with_name("flat.toml"), own.with_name("broken.yaml")
    write_spec(few, sound_spec(pairs=sound_spec().pairs[:3]))
    write_spec(flat, sound_spec(pairs=(*sound_spec().pairs[:4], PromptPair("Same", "same"))))
    broken.write_text("name: x\nname: y\n")
    result = ask("traits", "check", few)
    assert (result.exit_code, result.stdout) == (0, f"{few}: 1 warning\n    warning  pairs: 3 of 5\n")
    result = ask("traits", "check", few, flat, broken, own.with_name("nothing.toml"), own)
    assert result.exit_code == 2
    assert f"{flat}: 1 error\n    error    pair 5: both sides say the same\n" in result.stdout
    assert f"{broken}: 1 error\n    error    {broken}:2: the key 'name' stands here twice" in result.stdout
    assert "    error    there is no such file (" in result.stdout
    assert result.stdout.endswith(f"ok  {own}: 5 pairs, 20 + 20 questions\n")
    report = json.loads(ask("traits", "check", few, broken, "--json").stdout)
    assert [(entry["name"], entry["is_fit"]) for entry in report] == [("stinginess", True), (None, False)]
    assert report[0]["findings"] == [{"severity": "warning", "text": "pairs: 3 of 5", "part": "pairs", "numbers": []}]
    assert report[1]["findings"][0]["part"] == "file"


def test_text_of_a_file_cannot_act_on_the_terminal(ask: Ask, own: Path) -> None:
    path = own.with_name("hostile.toml")
    questions = (HOSTILE, HOSTILE, *sound_spec().extraction_questions[2:])
    write_spec(path, sound_spec(extraction_questions=questions, description=HOSTILE, rubric=HOSTILE))
    broken = own.with_name("broken.toml")
    broken.write_text('name = "a\\u001b[31m"\n[x\x1b[31m]')
    for words in (("show", path), ("check", path), ("check", broken), ("check", "\x1b[31m"), ("show", "\x1b[31m")):
        result = ask("traits", *words)
        assert "\u200e" not in result.output
        assert "\x1b" not in result.output
    assert "\\u200e[bold]x[/bold]" in ask("traits", "show", path).stdout


@pytest.mark.parametrize("words", [["check"], ["show"], ["show", "evil", "humour"], ["nothing"]])
def test_wrong_usage_exits_2(ask: Ask, words: list[str]) -> None:
    assert ask("traits", *words).exit_code == 2


@pytest.mark.parametrize("name", ["list", "show", "check"])
def test_every_traits_command_has_an_example_in_its_help(ask: Ask, name: str) -> None:
    assert f"  persona-audit traits {name}" in ask("traits", name, "--help").stdout.partition("Examples:")[2]


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["show"], "h", ["hallucination", "humour"]),
        (["check", "--demo"], "s", ["sycophantic"]),
        (["check", "evil"], "op", ["optimism"]),
        (["check"], "./ow", ["./ow"]),
    ],
)
def test_a_shell_completes_names_and_else_files(words: list[str], incomplete: str, offered: list[str]) -> None:
    completion = ShellComplete(cli, {}, "persona-audit", "_PERSONA_AUDIT_COMPLETE")
    found = completion.get_completions(["traits", *words], incomplete)
    assert [item.value for item in found] == offered
    assert {item.type for item in found} == {"file" if offered == [incomplete] else "plain"}
