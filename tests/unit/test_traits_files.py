"""Trait specifications from files and back: every malformed thing is named with its place and a cure."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

import pytest

from audit.errors import TraitError
from audit.traits import PromptPair, TraitSpec, build_spec, plain_values, read_spec, render_toml, write_spec
from tests.specs import sound_spec

SMALL = """
name = "thrift"
description = "Spending little."
rubric = "0 to 100"
[[pairs]]
positive = "Save."
negative = "Spend."
[questions]
extraction = ["Why?"]
evaluation = ["How?"]
"""


def write(tmp_path: Path, text: str | bytes, name: str = "thrift.toml") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TraitError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.cure or "expected" in caught.value.finding
    return str(caught.value)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, SMALL)) == TraitSpec(
        name="thrift",
        description="Spending little.",
        pairs=(PromptPair("Save.", "Spend."),),
        extraction_questions=("Why?",),
        evaluation_questions=("How?",),
        rubric="0 to 100",
    )


def test_yaml_says_the_same_and_every_scalar_is_text(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name: thrift\n"
        "description: >\n  Spending\n  little.\n"
        "licence:\n"
        "rubric: |\n  0 is lavish.\n  100 is stingy.\n"
        "assistant: {positive: a thrifty assistant, negative: a lavish assistant}\n"
        "pairs:\n- positive: no\n  negative: 2024-13-45\n"
        "questions:\n  extraction: [on, 1e3]\n  evaluation: ['null', \"~\"]\n",
        "thrift.yaml",
    )
    spec = read_spec(path)
    assert spec.description == "Spending little."
    assert spec.rubric == "0 is lavish.\n100 is stingy."
    assert spec.pairs == (PromptPair("no", "2024-13-45"),)
    assert spec.extraction_questions == ("on", "1e3")
    assert spec.evaluation_questions == ("null", "~")
    assert (spec.positive_name, spec.opening, spec.licence) == ("a thrifty assistant", "You are {name}.", "")


def test_white_space_around_texts_and_a_byte_order_mark_mean_nothing(tmp_path: Path) -> None:
    text = SMALL.replace('"Spending little."', '"""\n  Spending\n  little.\n"""').replace("Why?", "  Why?\\n")
    assert read_spec(write(tmp_path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())) == read_spec(
        write(tmp_path, SMALL, "other.toml")
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("description =", "descripton =", "unknown key 'descripton' (did you mean 'description'?)"),
        ("extraction =", "extractoin =", "questions, unknown key 'extractoin' (did you mean 'extraction'?)"),
        ("positive =", "good =", "pairs 1, unknown key 'good' (the keys here are positive, negative)"),
        ('evaluation = ["How?"]', 'evaluation = ["How?"]\nlanguage = "en"', "belongs to the file itself"),
        ('rubric = "0 to 100"', "", "no 'rubric' (add it"),
        ('negative = "Spend."', "", "pairs 1, no 'negative'"),
        ('["Why?"]', '"Why?"', "questions, extraction: expected a list, found text"),
        ('["Why?"]', '["Why?", 7]', "questions, extraction 2: expected text, found a number (put it in quotes)"),
        ('["Why?"]', '["Why?", ["How?"]]', "questions, extraction 2: expected text, found a list"),
        ('"Save."', "true", "pairs 1, positive: expected text, found true or false"),
        ('"Save."', "1979-05-27", "pairs 1, positive: expected text, found something else"),
        ("[[pairs]]", "[pairs]", "pairs: expected a list, found a table"),
        ('"thrift"', '"Power Seeking"', "no trait name (small letters a-z, digits and _, beginning with a letter: 'po"),
        ('"thrift"', '"turn"', "names of columns such as turn or status are taken"),
        ('"thrift"', '""', "'' is no trait name"),
        ('"Save."', '"Sa\\u001b[31mve"', "pairs 1, positive: holds the character U+001B"),
        ('"Save."', '"Sa\\u202Eve"', "U+202E"),
        ('"Save."', '"Save.', 'thrift.toml:6: is no TOML: Illegal character'),
        ("[questions]", "[questions", "thrift.toml:8: is no TOML"),
        ("[questions]", 'language = "en"\n[questions]', "pairs 1, unknown key 'language' ('language' belongs"),
        ('name = "thrift"', 'name = "thrift"\nlanguage = "English please"', "'English please' is no language tag"),
        ('name = "thrift"', 'name = "thrift"\nassistant = ""', "assistant: expected a table, found text"),
        ('name = "thrift"', 'name = "thrift"\nname = "thrift"', "thrift.toml:3: is no TOML: Cannot overwrite"),
        ('name = "thrift"', f"name = {'[' * 100_000}", "is nested too deeply"),
        ('name = "thrift"', f"name = {'9' * 10_000}", "is no TOML"),
        ('["Why?"]', str(["Why?"] * 501), "questions, extraction: 501 entries (keep 500 at most)"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_named_with_place_and_cure(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SMALL
    assert words in refusal(write(tmp_path, SMALL.replace(old, new)))


LAUGHS = "a: &a [ha, ha, ha]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + earlier] * 9)}]\n" for earlier, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: !!python/object/apply:os.system ['touch pwned']\n", "thrift.yaml:1: the tag"),
        ("name: !!binary aGk=\n", "the tag 'tag:yaml.org,2002:binary' is not read"),
        (LAUGHS, "thrift.yaml:1: anchors and aliases (& and *) are not read"),
        ("name: *nothing\n", "anchors and aliases"),
        ("name: thrift\nname: evil\n", "thrift.yaml:2: the key 'name' stands here twice (keep one of them)"),
        ("? [a, b]\n: c\n", "a key is not text"),
        ("- name: thrift\n", "the file: expected a table, found a list"),
        ("name: thrift\n---\nname: evil\n", "thrift.yaml:2: holds a second document"),
        ("", "the file: expected a table, found nothing"),
        ("description: evil: very\n", "thrift.yaml:1: is no YAML: mapping values are not allowed here"),
        ("name: 'thrift\n", "is no YAML"),
        ("name: \x07thrift\n", "is no YAML: special characters are not allowed"),
        ("pairs: " + "[" * 200_000, "thrift.yaml:1: is nested too deeply"),
        ("a:\n b:\n  c:\n   d:\n    e:\n     f:\n      g:\n       h: 1\n", "thrift.yaml:8: is nested too deeply"),
    ],
)
def test_hostile_or_broken_yaml_is_refused(
    tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refusal(write(tmp_path, text, "thrift.yaml"))
    assert not (tmp_path / "pwned").exists()


def test_files_that_cannot_be_one_are_refused_unread(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "nothing.toml")
    assert "is no file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")
    assert "is no file" in refusal(tmp_path / "pipe.toml")
    assert "is larger than 256 KiB" in refusal(write(tmp_path, "#" * 300_000))
    assert "neither a TOML nor a YAML file by its name" in refusal(write(tmp_path, SMALL, "thrift.json"))
    assert f"{tmp_path / 'thrift.toml'}:2: is not UTF-8: byte 0xe9" in refusal(write(tmp_path, b"#\nname = 'caf\xe9'"))
    assert "is not UTF-8" in refusal(write(tmp_path, SMALL.encode("utf-16")))


def test_what_is_written_reads_back_equal_and_reads_well(tmp_path: Path) -> None:
    spec = sound_spec(
        rubric='First "line" with a \\ in it.\n\n  Indented, and very long: ' + "word " * 60 + '\nends in """quotes"""',
        description="Says \"no\"\tto 'everything'.",
        opening="Here is {name}:",
        language="pt-BR",
    )
    written = write_spec(tmp_path / "new" / "x.toml", spec)
    assert written == read_spec(tmp_path / "new" / "x.toml")
    assert written == dataclasses.replace(spec, description="Says \"no\" to 'everything'.")
    lines = (tmp_path / "new" / "x.toml").read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["x.toml"]
    assert render_toml(written) == (tmp_path / "new" / "x.toml").read_text()


def test_an_unfinished_specification_can_be_written_and_read(tmp_path: Path) -> None:
    empty = sound_spec(pairs=(), extraction_questions=(), rubric="", positive_name="", negative_name="")
    assert write_spec(tmp_path / "x.toml", empty) == empty == read_spec(tmp_path / "x.toml")


def test_no_file_is_replaced_unless_told_so(tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    with pytest.raises(TraitError, match="exists already"):
        write_spec(path, sound_spec())
    assert path.read_text() == "mine"
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere.toml")
    with pytest.raises(TraitError, match="exists already"):
        write_spec(link, sound_spec())
    write_spec(path, sound_spec(), overwrite=True)
    assert read_spec(path) == sound_spec()
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.toml", "thrift.toml"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "thrift.toml"
    real = os.fsync

    def race(handle: int) -> None:
        real(handle)
        path.write_text("theirs")

    monkeypatch.setattr(os, "fsync", race)
    with pytest.raises(TraitError, match="exists already"):
        write_spec(path, sound_spec())
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_hard_links_gets_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert write_spec(tmp_path / "a.toml", sound_spec()) == read_spec(tmp_path / "a.toml")
    with pytest.raises(TraitError, match="exists already"):
        write_spec(tmp_path / "a.toml", sound_spec())


def test_what_no_file_may_hold_is_not_written(tmp_path: Path) -> None:
    for spec, words in (
        (sound_spec(name="Evil!"), "no trait name"),
        (sound_spec(extraction_questions=("a", "b\x00")), "extraction 2: holds the character U\\+0000"),
        (sound_spec(rubric="\ud800"), "rubric: holds the character U\\+D800"),
        (sound_spec(language="???"), "no language tag"),
    ):
        with pytest.raises(TraitError, match=words):
            write_spec(tmp_path / "x.toml", spec)
    with pytest.raises(TraitError, match="written as TOML"):
        write_spec(tmp_path / "x.yaml", sound_spec())
    write(tmp_path, "a file", "folder")
    with pytest.raises(TraitError, match="cannot be written"):
        write_spec(tmp_path / "folder" / "x.toml", sound_spec())
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_values_of_a_draft_are_read_as_those_of_a_file() -> None:
    spec = sound_spec()
    assert build_spec(plain_values(spec), "the draft") == spec
    with pytest.raises(TraitError, match=re.escape("the draft: the file: expected a table, found text")):
        build_spec("Sorry, I cannot help with that.", "the draft")
