"""The cache of answers: keys, rights, the limit, several processes, damage."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from audit.answers import Answer, Generator, clear_cache, describe_cache, open_cache
from audit.errors import CacheError, ConfigError, DamagedCacheError

LIMIT = 1 << 30
ME = Generator("me", {"fingerprint": "a", "seed": 0})
ODD = Answer("Zürich, 你好 😀\0 and\nmore", 12, False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "answers.sqlite"


def keep(path: Path, prompts: list[str], answer: Answer = ODD, generator: Generator = ME) -> None:
    with open_cache(path, LIMIT) as cache:
        cache.keep(generator, {generator.key(prompt): answer for prompt in prompts})


def find(path: Path, *prompts: str, generator: Generator = ME) -> list[Answer | None]:
    with open_cache(path, LIMIT) as cache:
        found = cache.find([generator.key(prompt) for prompt in prompts])
    return [found.get(generator.key(prompt)) for prompt in prompts]


def test_what_was_kept_is_found_again_by_another_process_and_nothing_else(path: Path) -> None:
    keep(path, ["Hello?"])
    assert find(path, "Hello?", "Hello!") == [ODD, None]


@pytest.mark.parametrize("change", [{"seed": 1}, {"fingerprint": "b"}, {"dtype": "bfloat16"}])
def test_another_generator_finds_nothing(path: Path, change: dict[str, object]) -> None:
    keep(path, ["Hello?"])
    assert find(path, "Hello?", generator=replace(ME, identity={**ME.identity, **change})) == [None]


def test_the_name_of_a_model_is_no_part_of_its_key(path: Path) -> None:
    keep(path, ["Hello?"])
    assert find(path, "Hello?", generator=replace(ME, model="moved")) == [ODD]


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX")
def test_directory_and_file_are_the_owners_alone_whatever_the_mask(path: Path) -> None:
    before = os.umask(0)
    try:
        with open_cache(path, LIMIT) as cache:
            cache.keep(ME, {ME.key("a"): ODD})
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.name in modes
    assert set(modes.values()) == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX")
def test_a_file_that_others_could_read_is_closed_to_them_and_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    keep(path, ["a"])
    path.chmod(0o644)
    assert find(path, "a") == [ODD]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError):
        find(path, "a")


def test_no_prompt_is_written_to_the_file(path: Path) -> None:
    keep(path, ["a secret prompt"])
    assert all(b"secret" not in file.read_bytes() for file in path.parent.iterdir())


def test_at_the_limit_the_answers_used_longest_ago_leave_and_the_file_shrinks(path: Path) -> None:
    clock = map(float, count())
    long = Answer("x" * 10_000, 1, True)
    with open_cache(path, 400_000, clock=lambda: next(clock)) as cache:
        for number in range(20):
            cache.keep(ME, {ME.key(str(number)): long})
        assert cache.find([ME.key("0")])
        for number in range(20, 60):
            cache.keep(ME, {ME.key(str(number)): long})
            if number == 30:
                assert cache.find([ME.key("0")])
        kept = [number for number in range(60) if cache.find([ME.key(str(number))])]
    assert kept[-20:] == list(range(40, 60))
    assert 1 not in kept
    assert path.stat().st_size <= 400_000


def test_an_answer_in_use_outlives_older_ones(path: Path) -> None:
    clock = map(float, count())
    long = Answer("x" * 10_000, 1, True)
    with open_cache(path, 200_000, clock=lambda: next(clock)) as cache:
        for number in range(40):
            cache.keep(ME, {ME.key(str(number)): long})
            assert cache.find([ME.key("0")])
        assert not cache.find([ME.key("1")])


def test_a_limit_below_anything_keeps_nothing_and_does_not_hang(path: Path) -> None:
    with open_cache(path, 0) as cache:
        cache.keep(ME, {ME.key("a"): ODD})
        assert cache.find([ME.key("a")]) == {}


WRITER = """
import sys
from pathlib import Path
from audit.answers import Answer, Generator, open_cache
me, name = Generator("me", {"fingerprint": "a", "seed": 0}), sys.argv[2]
for number in range(40):
    with open_cache(Path(sys.argv[1]), 1 << 30) as cache:
        cache.keep(me, {me.key(f"{name} {number} {n}"): Answer(f"{name} {number}", n, True) for n in range(5)})
        assert cache.find([me.key(f"{name} 0 0")])
"""


def test_two_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for name in ("one", "two"):
        for number in range(40):
            wanted = [Answer(f"{name} {number}", n, True) for n in range(5)]
            assert find(path, *(f"{name} {number} {n}" for n in range(5))) == wanted


@pytest.fixture
def damaged(path: Path) -> Path:
    keep(path, [str(number) for number in range(500)])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    return path


def test_a_damaged_file_is_named_with_its_cure_and_cleared_as_a_whole(damaged: Path) -> None:
    with pytest.raises(DamagedCacheError, match="cache clear"):
        find(damaged, "1")
    with pytest.raises(DamagedCacheError):
        clear_cache(damaged, "me")
    cleared = clear_cache(damaged)
    assert cleared.n_answers is None
    assert cleared.freed_bytes > 4096
    assert find(damaged, "1") == [None]


def test_a_file_that_is_no_database_is_damaged(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely" * 1000)
    with pytest.raises(DamagedCacheError):
        describe_cache(path)


def test_a_changed_answer_is_never_used(path: Path) -> None:
    keep(path, ["a", "b"])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE answers SET text = 'forged' WHERE key = ?", (ME.key("a"),))
    assert find(path, "a", "b") == [None, ODD]
    keep(path, ["a"])
    assert find(path, "a") == [ODD]


def test_a_file_of_a_later_format_is_left_alone(path: Path) -> None:
    keep(path, ["a"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(DamagedCacheError, match="format 2"):
        find(path, "a")


def test_a_place_that_is_a_directory_or_lies_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "answers.sqlite", tmp_path / "file" / "answers.sqlite"):
        with pytest.raises(CacheError, match="PERSONA_AUDIT_CACHE"):
            find(path, "a")


def test_it_is_described_by_model_and_cleared_by_model(path: Path) -> None:
    other = Generator("other", {"fingerprint": "b"})
    keep(path, ["a", "b"])
    keep(path, ["a"], replace(ODD, text="x" * 1000), generator=other)
    state = describe_cache(path)
    assert [(entry.model, entry.n_answers) for entry in state.models] == [("other", 1), ("me", 2)]
    assert state.n_answers == 3
    assert state.size_bytes >= path.stat().st_size > 0
    with pytest.raises(ConfigError, match="other, me"):
        clear_cache(path, "another")
    assert clear_cache(path, "me").n_answers == 2
    assert [entry.model for entry in describe_cache(path).models] == ["other"]
    assert clear_cache(path).n_answers == 1
    assert describe_cache(path).n_answers == 0


def test_looking_makes_no_cache(path: Path) -> None:
    assert not describe_cache(path).exists
    assert clear_cache(path).n_answers == 0
    assert not path.parent.exists()
