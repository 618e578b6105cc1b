"""The sheet of a run: prompts in order, each with one answer, kept over a kill."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from audit.answers import ALL, Answer, AnswerSheet, FailedAnswer, Generator, open_sheet
from audit.errors import RunError

ME = Generator("me", {"fingerprint": "a"})


def answer(text: str) -> Answer:
    return Answer(text, len(text), True)


def prompts(sheet: AnswerSheet, n: int = 2) -> list[list[str]]:
    sheet.draw_all()
    return [[line.prompt for line in shard] for shard in sheet.read_shards(ALL, n)]


def test_a_prompt_keeps_its_first_place_however_often_it_comes(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["b", "a", "b"])
        sheet.add_prompts(["a", "c", "b", "\ud800 d"])
        assert prompts(sheet) == [["b", "a"], ["c", "\ud800 d"]]
        assert prompts(sheet, 3) == [["b", "a", "c"], ["\ud800 d"]]


def test_a_list_that_was_cut_off_is_continued_in_the_same_order(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["b", "a"])
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        assert not sheet.is_listed
        sheet.add_prompts(["b", "a", "c"])
        sheet.close_list()
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        assert sheet.is_listed
        assert prompts(sheet, 9) == [["b", "a", "c"]]


def test_the_first_answer_stays_and_is_counted_where_it_came_from(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["a", "b", "c"])
        sheet.add_answers({ME.key("a"): answer("one")}, is_cached=True)
        sheet.add_answers({ME.key("a"): answer("two"), ME.key("b"): answer("")}, is_cached=False)
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.draw_all()
        one, nothing = ((answer("one"),), ALL), ((answer(""),), ALL)
        assert sheet.find(["b", "a", "b"]) == [nothing, one, nothing]
        counts = sheet.count()
        assert (counts.n_prompts, counts.n_generated, counts.n_generated_tokens, counts.n_cached) == (3, 1, 0, 1)
        assert [line.is_answered for shard in sheet.read_shards(ALL, 9) for line in shard] == [True, True, False]


def test_a_prompt_without_an_answer_is_an_error_that_names_the_data(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["a"])
        sheet.draw_all()
        for prompt in ("a", "never listed"):
            with pytest.raises(RunError, match="changed since the scan began"):
                sheet.find([prompt])


def test_a_draw_has_its_prompts_alone_and_a_prompt_keeps_its_first_draw(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["a", "b", "c", "d", "e"])
        assert sheet.find_positions(["c", "a"]) == [2, 0]
        sheet.draw_prompts([3, 1], "first")
        sheet.draw_prompts([1, 2, 4], "second")
        sheet.add_answers({ME.key("b"): answer("B"), ME.key("d"): answer("D")}, is_cached=False)
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        assert [[line.prompt for line in shard] for shard in sheet.read_shards("first", 1)] == [["b"], ["d"]]
        assert [[line.prompt for line in shard] for shard in sheet.read_shards("second", 9)] == [["c", "e"]]
        assert (sheet.count_drawn("first"), sheet.count_drawn("second")) == ((2, 2, 0), (2, 0, 0))
        assert sheet.find(["a", "b"]) == [None, ((answer("B"),), "first")]
        with pytest.raises(RunError, match="no answer"):
            sheet.find(["c"])


def test_a_prompt_that_failed_is_settled_until_failures_are_forgotten(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.add_prompts(["a", "b"])
        sheet.add_answers({ME.key("a"): answer("one")}, is_cached=False)
        sheet.add_failure(ME.key("b"), FailedAnswer("no luck"))
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        sheet.draw_all()
        assert sheet.find(["b", "a"]) == [((FailedAnswer("no luck"),), ALL), ((answer("one"),), ALL)]
        assert (sheet.count().n_answered, sheet.count().n_failed, sheet.count_drawn(ALL)) == (1, 1, (2, 1, 1))
        assert [line.is_answered for shard in sheet.read_shards(ALL, 9) for line in shard] == [True, True]
        sheet.forget_failures()
        assert (sheet.count().n_failed, sheet.count_drawn(ALL)) == (0, (2, 1, 0))
        sheet.add_failure(ME.key("b"), FailedAnswer("no luck"))
    with open_sheet(tmp_path / "sheet", Generator("me", {"fingerprint": "b"})) as sheet:
        sheet.add_prompts(["b"])
        assert sheet.count().n_failed == 0


def test_another_generators_sheet_and_a_damaged_one_are_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "sheet"
    with open_sheet(path, ME) as sheet:
        sheet.add_prompts(["a"])
        sheet.close_list()
    with open_sheet(path, Generator("me", {"fingerprint": "b"})) as sheet:
        assert not sheet.is_listed
        assert sheet.count().n_prompts == 0
    path.write_bytes(b"no database" * 1000)
    with open_sheet(path, ME) as sheet:
        assert sheet.count().n_prompts == 0


def test_a_sheet_that_breaks_while_it_is_used_is_an_error_of_the_run(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        with closing(sqlite3.connect(tmp_path / "sheet")) as connection:
            connection.execute("DROP TABLE prompts")
        with pytest.raises(RunError, match="--fresh"):
            sheet.add_prompts(["a"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--out"), open_sheet(tmp_path / "missing" / "sheet", ME):
        pass


DRAWN = Generator("me", {"fingerprint": "a"}, n_samples=3)


def test_drawn_answers_of_a_prompt_stand_in_a_row_and_are_found_together(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", DRAWN) as sheet:
        sheet.add_prompts(["b", "a", "b"])
        sheet.add_prompts(["a", "c"])
        assert sheet.find_positions(["c", "a", "b"]) == [2, 1, 0]
        sheet.draw_prompts([1, 2], "first")
        shards = list(sheet.read_shards("first", 4))
        assert [[(line.prompt, line.sample) for line in shard] for shard in shards] == [
            [("a", 0), ("a", 1), ("a", 2), ("c", 0)],
            [("c", 1), ("c", 2)],
        ]
        assert [line.key for shard in shards for line in shard] == [*DRAWN.keys("a"), *DRAWN.keys("c")]
        one, two, three = DRAWN.keys("c")
        sheet.add_answers({three: answer("3"), one: answer("1")}, is_cached=False)
        sheet.add_failure(two, FailedAnswer("no luck"))
        assert sheet.find(["b", "c"]) == [None, ((answer("1"), FailedAnswer("no luck"), answer("3")), "first")]
        assert sheet.count_drawn("first") == (6, 2, 1)
        assert (sheet.count().n_prompts, sheet.count().n_generated, sheet.count().n_failed) == (3, 2, 1)
        with pytest.raises(RunError, match="no answer"):
            sheet.find(["a"])
    # Fewer of the same answers are another list.
    with open_sheet(tmp_path / "sheet", Generator("me", {"fingerprint": "a"}, n_samples=2)) as sheet:
        assert sheet.count().n_prompts == 0


def test_a_drawn_answer_has_a_key_of_its_own_however_many_others_there_are() -> None:
    assert len({*DRAWN.keys("a"), *DRAWN.keys("b"), ME.key("a")}) == 7
    assert Generator("me", {"fingerprint": "a"}, n_samples=2).keys("a") == DRAWN.keys("a")[:2]
    assert ME.keys("a") == [ME.key("a")]


def test_prompts_whose_answers_differ_are_counted_and_empty_ones_left_out(tmp_path: Path) -> None:
    with open_sheet(tmp_path / "sheet", DRAWN) as sheet:
        sheet.add_prompts(["same", "other", "empty", "open"])
        texts = {"same": ["x", "x", "x"], "other": ["x", "y", "x"], "empty": [" ", " ", " "], "open": ["x"]}
        for prompt, own in texts.items():
            sheet.add_answers(
                {key: answer(text) for key, text in zip(DRAWN.keys(prompt), own, strict=False)}, is_cached=False
            )
        assert sheet.count_varied() == (2, 1)


def test_a_sheet_of_an_older_format_is_begun_anew(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "sheet")) as connection, connection:
        connection.execute("CREATE TABLE generator (digest TEXT NOT NULL, is_listed INTEGER NOT NULL)")
        connection.execute("INSERT INTO generator VALUES (?, 1)", (ME.digest,))
        connection.execute("CREATE TABLE prompts (position INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE)")
    with open_sheet(tmp_path / "sheet", ME) as sheet:
        assert not sheet.is_listed
        sheet.add_prompts(["a"])
        assert sheet.find_positions(["a"]) == [0]
