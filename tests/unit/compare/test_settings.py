"""What two runs were made with, which scores can be held side by side, and which runs cannot be compared at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.compare import compare_runs
from audit.compare.settings import explain_incomparable, list_differences
from audit.errors import RunError
from audit.store import RunStore
from tests.fabricated import FakeRecord, scored
from tests.unit.compare.versions import change_manifest, make_version

RECORDS = [scored(0.1 * k, response=f"text {k}") for k in range(4)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return RunStore(make_version(tmp_path_factory.mktemp("run") / "a.audit", RECORDS)).read_manifest()


def merge(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with changes, mappings merged into what is there."""
    own = {
        name: {**manifest.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return {**manifest, **own}


def make_pair(tmp_path: Path, **options: Any) -> tuple[Path, Path]:
    dataset = tmp_path / "data.jsonl"
    return (
        make_version(tmp_path / "a.audit", RECORDS, dataset=dataset),
        make_version(tmp_path / "b.audit", RECORDS, dataset=dataset, **options),
    )


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"model": {"fingerprint": "ffff"}}, "model", "persona-audit-demo (fingerprint ffff)"),
        ({"model": {"dtype": "bfloat16"}}, "number type", "bfloat16"),
        ({"model": {"template_sha256": "abcdef0123456789"}}, "chat template", "abcdef012345"),
        ({"model": {"adapter": {"sha256": "1234567890abcdef"}}}, "adapter", "1234567890ab"),
        ({"config": {"turns": "last"}}, "turns", "last"),
        ({"config": {"limit": 4}}, "limit", "4"),
        ({"config": {"evidence": "full"}}, "evidence", "full"),
        ({"config": {"orthogonal": True}}, "orthogonal", "yes"),
        ({"config": {"baseline_samples": 4}}, "baseline", "generate, 4 sampled answers each"),
        ({"baseline": {"parameters": {"max_new_tokens": 9}}}, "longest baseline", "9"),
        ({"reference": {"n": 600}}, "reference", "a clean set (600 records)"),
        ({"flagging": {"rule": "fdr:0.05"}}, "flag rule", "fdr:0.05"),
    ],
)
def test_a_setting_that_differs_is_named_with_both_values(
    manifest: dict[str, Any], changes: dict[str, Any], name: str, words: str
) -> None:
    (found,) = list_differences(manifest, merge(manifest, changes))
    assert (found.name, found.b, found.decides) == (name, words, True)
    (back,) = list_differences(merge(manifest, changes), manifest)
    assert (back.a, back.b) == (found.b, found.a)


def test_a_setting_that_decides_makes_runs_differ_even_where_no_score_does(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    change_manifest(b, config={"evidence": "full"})
    values = compare_runs(a, b)
    assert [(found["name"], found["a"], found["b"]) for found in values["differences"]] == [("evidence", "off", "full")]
    assert values["is_different"] is True


def test_where_a_run_was_made_is_said_but_makes_no_difference(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    change_manifest(b, tool_version="0.2.0", model={"device": "cuda"})
    values = compare_runs(a, b)
    assert [(found["name"], found["decides"]) for found in values["differences"]] == [
        ("device", False),
        ("tool version", False),
    ]
    assert values["is_different"] is False


def test_other_data_under_the_same_name_are_other_data(tmp_path: Path) -> None:
    a = make_version(tmp_path / "a.audit", RECORDS)
    b = make_version(tmp_path / "b.audit", RECORDS[::-1])
    (data, path) = compare_runs(a, b)["differences"]
    assert (data["name"], data["decides"], path["name"], path["decides"]) == ("data", True, "data path", False)
    assert data["a"].startswith("a.jsonl (4 records, sha256 ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"fingerprint": "ffff"}}, "model"),
        ({"model": {"template_sha256": "ff"}}, "chat template"),
        ({"config": {"baseline_samples": 4}}, "baseline"),
        ({"config": {"orthogonal": True}}, "set of orthogonal traits"),
    ],
)
def test_what_makes_scores_of_another_kind_is_said(
    manifest: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    assert explain_incomparable(manifest, manifest, "evil") == []
    assert explain_incomparable(manifest, merge(manifest, changes), "evil") == [reason]


def test_scores_of_another_kind_are_compared_in_deviations_of_the_references(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    change_manifest(b, model={"fingerprint": "ffff"})
    row = compare_runs(a, b)["traits"][0]
    assert (row["unit"], row["is_comparable"], row["incomparable"]) == ("z", False, ["model"])
    assert row["n_rescored"] is None


def test_another_vector_of_one_trait_leaves_the_others_comparable(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    vector = {"layer": 3, "sha256": "1" * 64, "purpose": "measure", "source": "x", "trait": "evil"}
    other = {"layer": 2, "sha256": "0" * 64, "purpose": "measure", "source": "x", "trait": "sycophantic"}
    change_manifest(b, vectors=[vector, other])
    values = compare_runs(a, b)
    assert [row["unit"] for row in values["traits"]] == ["z", "score"]
    assert values["traits"][0]["incomparable"] == ["vector of evil", "layer of evil"]
    (found,) = values["differences"]
    assert found["a"] == "layer 2, sha256 000000000000"
    assert found["b"] == "layer 3, sha256 111111111111"


def test_scores_that_have_no_common_scale_are_not_compared(tmp_path: Path) -> None:
    dataset = tmp_path / "data.jsonl"
    a = make_version(tmp_path / "a.audit", RECORDS, dataset=dataset)
    b = change_manifest(make_version(tmp_path / "b.audit", RECORDS, dataset=dataset, z={}), model={"fingerprint": "f"})
    row = compare_runs(a, b)["traits"][0]
    assert (row["unit"], row["shift"], row["ks"], row["has_drifted"]) == (None, None, None, None)


def test_a_run_without_a_reference_is_said_to_flag_otherwise(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    assert compare_runs(a, b)["notices"] == []
    change_manifest(b, reference=None)
    (notice,) = compare_runs(a, b)["notices"]
    assert "run B was judged without a clean reference" in notice


def test_a_trait_of_one_run_alone_has_its_verdict_and_nothing_else(tmp_path: Path) -> None:
    a = make_version(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "d.jsonl")
    one = [scored(0.1 * k, response=f"text {k}") for k in range(4)]
    for record in one:
        record.turns[0].scores = {"evil": (0.5, 0.5)}
    b = make_version(tmp_path / "b.audit", one, dataset=tmp_path / "d.jsonl", traits=("evil",))
    evil, sycophantic = compare_runs(a, b)["traits"]
    assert (evil["verdict_a"], evil["verdict_b"]) == ("clear", "clear")
    assert (sycophantic["verdict_a"], sycophantic["verdict_b"], sycophantic["shift"]) == ("clear", None, None)


def test_what_cannot_be_compared_is_refused_with_words(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    unfinished = make_version(tmp_path / "u.audit", RECORDS, is_finished=False)
    with pytest.raises(RunError, match="has not finished"):
        compare_runs(a, unfinished)
    scoreless = make_version(tmp_path / "s.audit", [FakeRecord(reason="empty_response")] * 2)
    with pytest.raises(RunError, match="none of its 2 records has a score"):
        compare_runs(scoreless, a)
    other = scored(0.1)
    other.turns[0].scores = {"optimistic": (0.5, 0.5)}
    foreign = make_version(tmp_path / "f.audit", [other], traits=("optimistic",))
    with pytest.raises(RunError, match="no trait in common"):
        compare_runs(a, foreign)
    with pytest.raises(RunError, match="no such run directory"):
        compare_runs(a, tmp_path / "missing.audit")
    change_manifest(b, format_version=99)
    with pytest.raises(RunError, match="format version 99"):
        compare_runs(a, b)


def test_a_damaged_run_is_refused_with_words(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    (b / "flags.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(RunError, match="--fresh"):
        compare_runs(a, b)
