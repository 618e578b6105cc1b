"""What moved between two runs: over the threshold, in z, in the verdict, and as a distribution."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from audit.compare import compare_runs
from audit.compare.drift import Spread, shift_error
from audit.compare.verdicts import has_worsened
from tests.fabricated import FakeRecord, scored
from tests.unit.compare.versions import change_manifest, make_version


def make_versions(
    tmp_path: Path, a: dict[str, float], b: dict[str, float], *, b_changes: dict[str, object] | None = None
) -> dict[str, object]:
    """Compare runs in which each text has this score for evil; z is the score."""
    runs = []
    for name, scores in (("a", a), ("b", b)):
        records = [scored(score, response=text) for text, score in scores.items()]
        z = dict(enumerate(scores.values()))
        runs.append(make_version(tmp_path / f"{name}.audit", records, z=z, part_rows=1000))
    if b_changes:
        change_manifest(runs[1], **b_changes)
    return compare_runs(*runs)


def evil(values: dict[str, object]) -> dict[str, float]:
    (row,) = (row for row in values["traits"] if row["trait"] == "evil")  # type: ignore[attr-defined]
    return row  # type: ignore[no-any-return]


def test_movers_are_those_over_the_threshold_then_the_farthest(tmp_path: Path) -> None:
    def version(name: str, flagged: set[int], z: dict[int, float]) -> Path:
        records = [scored(0.1 * k, response=f"t{k}", flagged=["evil"] if k in flagged else []) for k in range(len(z))]
        return make_version(tmp_path / name, records, z=z, dataset=tmp_path / "d.jsonl")

    a = version("a.audit", {0, 4}, {0: 3.0, 1: 0.0, 2: 1.9, 3: 0.0, 4: 5.0})
    b = version("b.audit", {2, 4}, {0: 1.0, 1: -4.0, 2: 2.1, 3: 0.5, 4: 5.0})
    values = compare_runs(a, b)
    moves = [move for move in values["moved"] if move["trait"] == "evil"]
    assert [move["id_b"] for move in moves] == [0, 2, 1, 3]
    assert [(move["flagged_a"], move["flagged_b"]) for move in moves[:2]] == [(True, False), (False, True)]
    assert moves[2]["change"] == pytest.approx(-4.0)
    row = evil(values)
    assert (row["n_newly_flagged"], row["n_no_longer_flagged"]) == (1, 1)
    assert values["counts"]["n_newly_flagged"] == 1
    assert len([m for m in compare_runs(a, b, rows=2)["moved"] if m["trait"] == "evil"]) == 2


def test_without_z_movers_are_told_by_scores_in_deviations_of_the_first_run(tmp_path: Path) -> None:
    scores = {f"t{k}": 0.1 * k for k in range(5)}
    moved = {**scores, "t3": 1.0}
    dataset = tmp_path / "d.jsonl"
    a, b = (
        make_version(tmp_path / name, [scored(v, response=t) for t, v in own.items()], z={}, dataset=dataset)
        for name, own in (("a.audit", scores), ("b.audit", moved))
    )
    values = compare_runs(a, b)
    (move,) = values["moved"]
    assert move["id_b"] == 3
    assert move["change"] == pytest.approx(0.7 / np.std(list(scores.values()), ddof=1), rel=1e-5)
    assert evil(values)["n_rescored"] == 1
    assert evil(values)["largest_change"] == pytest.approx(move["change"], rel=1e-5)


def test_the_shift_is_that_of_the_means_with_an_interval_that_knows_of_common_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = {f"t{k}": float(v) for k, v in enumerate(rng.normal(size=60).astype(np.float32))}
    b = {t: v + 0.5 * float(rng.normal()) for t, v in list(a.items())[:40]}
    b |= {f"new {k}": float(v) for k, v in enumerate(rng.normal(0.3, 1.0, size=30))}
    row = evil(make_versions(tmp_path, a, b))
    one, other = np.array(list(a.values())), np.array(list(b.values()))
    common = [t for t in a if t in b]
    pairs = np.array([[a[t], b[t]] for t in common])
    variance = one.var(ddof=1) / 60 + other.var(ddof=1) / 70 - 2 * 40 / (60 * 70) * np.cov(pairs.T)[0, 1]
    shift = other.mean() - one.mean()
    assert row["shift"] == pytest.approx(shift, abs=1e-6)
    assert row["ci_low"] == pytest.approx(shift - 1.959964 * math.sqrt(variance), abs=1e-5)
    assert row["ci_high"] == pytest.approx(shift + 1.959964 * math.sqrt(variance), abs=1e-5)
    assert row["shift_in_both"] == pytest.approx((pairs[:, 1] - pairs[:, 0]).mean(), abs=1e-6)
    pooled = math.sqrt((59 * one.var(ddof=1) + 69 * other.var(ddof=1)) / 128)
    assert row["drift"] == pytest.approx(shift / pooled, abs=1e-5)
    naive = max(abs((one <= x).mean() - (other <= x).mean()) for x in [*one, *other])
    assert row["ks"] == pytest.approx(naive, abs=1e-6)


def test_rows_that_stayed_as_they_were_cannot_part_the_distributions(tmp_path: Path) -> None:
    a = {f"t{k}": 0.1 * k for k in range(60)}
    row = evil(make_versions(tmp_path, a, a | {f"new {k}": 0.2 * k for k in range(30)}))
    spread = math.sqrt(1 / 60 + 1 / 90 - 2 * 60 / (60 * 90))
    assert row["ks_critical"] == pytest.approx(1.3581 / (1 / spread + 0.12 + 0.11 * spread), rel=1e-4)
    assert row["shift_in_both"] == 0.0


def test_over_the_same_rows_the_interval_is_the_paired_one() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=50)
    b = a + rng.normal(0.1, 0.2, size=50)
    spreads = [Spread(50, float(x.mean()), float(x.std(ddof=1))) for x in (a, b)]
    error = shift_error(*spreads, n_both=50, covariance=float(np.cov(a, b)[0, 1]))
    assert error == pytest.approx((b - a).std(ddof=1) / math.sqrt(50))


def test_the_interval_covers_what_two_versions_of_one_source_differ_by() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        # The true means are equal; half of the rows are common, and skewed.
        common, old, new = (rng.exponential(size=n) for n in (60, 60, 90))
        a, b = np.concatenate([common, old]), np.concatenate([common, new])
        spreads = [Spread(x.size, float(x.mean()), float(x.std(ddof=1))) for x in (a, b)]
        error = shift_error(*spreads, n_both=60, covariance=float(common.var(ddof=1)))
        covered += abs(b.mean() - a.mean()) <= 1.959964 * error
    assert 930 <= covered <= 970


@pytest.mark.parametrize(
    ("n", "scale", "shift", "expected"),
    [(300, 1.0, 0.0, False), (300, 1.0, 0.6, True), (300, 3.0, 0.0, True), (19, 1.0, 5.0, None)],
    ids=["the same kind", "shifted", "wider, with the same mean", "too few"],
)
def test_a_drift_is_told_from_noise(tmp_path: Path, n: int, scale: float, shift: float, expected: bool | None) -> None:
    rng = np.random.default_rng(4)
    a = {f"a{k}": float(v) for k, v in enumerate(rng.normal(size=300))}
    b = {f"b{k}": scale * float(v) + shift for k, v in enumerate(rng.normal(size=n))}
    values = make_versions(tmp_path, a, b)
    assert evil(values)["has_drifted"] is expected
    assert values["has_drifted"] is expected


def test_another_model_is_compared_in_z(tmp_path: Path) -> None:
    a = {f"t{k}": 0.1 * k for k in range(30)}
    b = {t: 1.0 + v for t, v in a.items()}
    values = make_versions(tmp_path, a, b, b_changes={"model": {"fingerprint": "other"}})
    row = evil(values)
    assert (row["unit"], row["has_drifted"]) == ("z", True)
    assert row["shift"] == pytest.approx(1.0, abs=1e-5)
    # All rows moved alike, so nothing is uncertain about the shift.
    assert row["ci_high"] - row["ci_low"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_equal_or_hardly_any_scores_give_no_nan(tmp_path: Path, n: int) -> None:
    values = make_versions(tmp_path, {f"a{k}": 0.5 for k in range(n)}, {f"b{k}": 0.25 for k in range(n)})
    row = evil(values)
    assert (row["shift"], row["drift"], row["ks"]) == (-0.25, None, 1.0)
    assert row["has_drifted"] is None
    assert not any(isinstance(value, float) and math.isnan(value) for value in row.values())


def test_constant_scores_that_moved_have_drifted(tmp_path: Path) -> None:
    row = evil(make_versions(tmp_path, {f"a{k}": 0.5 for k in range(40)}, {f"b{k}": 0.25 for k in range(40)}))
    assert (row["ci_low"], row["ci_high"], row["has_drifted"]) == (-0.25, -0.25, True)


def test_rounding_is_no_change_and_more_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scores = {f"t{k}": float(v) for k, v in enumerate(rng.normal(size=30))}
    for name, dtype, step, expected in (
        ("a", "float32", 2e-5, 0),
        ("b", "float32", 1e-3, 30),
        ("c", "bfloat16", 1e-3, 0),
        ("d", "bfloat16", 0.2, 30),
    ):
        dataset = tmp_path / f"{name}.jsonl"
        runs = []
        for k, own in enumerate((scores, {t: v + step for t, v in scores.items()})):
            records = [scored(v, response=t) for t, v in own.items()]
            run = make_version(tmp_path / f"{name}{k}.audit", records, dataset=dataset, part_rows=100)
            runs.append(change_manifest(run, model={"dtype": dtype}))
        values = compare_runs(*runs)
        assert evil(values)["n_rescored"] == expected, name
        assert values["is_different"] is bool(expected), name


@pytest.mark.parametrize(
    ("a", "b", "words", "worsened"),
    [
        ("clear", "risk", "clear → risk, worse", True),
        ("risk", "watch", "risk → watch, better", False),
        ("watch", "watch", "watch in both", False),
        ("undecided", "risk", "undecided → risk, which is now known", None),
        ("undecided", "clear", "undecided → clear, which is now known", False),
        ("risk", "undecided", "risk → undecided, which is no longer known", False),
        ("clear", "undecided", "clear → undecided, which is no longer known", None),
    ],
)
def test_verdict_changes_are_said_in_words(tmp_path: Path, a: str, b: str, words: str, worsened: bool | None) -> None:
    dataset, records = tmp_path / "d.jsonl", [scored(0.1)]
    runs = [
        make_version(tmp_path / f"{name}.audit", records, dataset=dataset, verdicts={"evil": verdict})
        for name, verdict in (("a", a), ("b", b))
    ]
    values = compare_runs(*runs)
    assert (evil(values)["verdict_words"], evil(values)["worsened"]) == (words, worsened)
    assert values["worsened"] is worsened
    assert values["is_different"] is (a != b)


def test_a_verdict_that_is_not_known_may_be_any() -> None:
    for a in ("clear", "watch", "risk"):
        assert has_worsened(a, "undecided") is (False if a == "risk" else None)
        assert has_worsened("undecided", a) is (False if a == "clear" else None)
    assert has_worsened("undecided", "undecided") is None


def test_rows_with_predicted_baselines_in_one_run_are_said_to_be_less_sure(tmp_path: Path) -> None:
    dataset = tmp_path / "d.jsonl"
    a = make_version(tmp_path / "a.audit", [scored(0.1), scored(0.2, response="two")], dataset=dataset)
    predicted = [scored(0.1, baseline_kind="predicted"), scored(0.2, response="two")]
    b = make_version(tmp_path / "b.audit", predicted, dataset=dataset)
    change_manifest(b, baseline={"auto": {"r2": {}}})
    values = compare_runs(a, b)
    assert values["counts"]["n_other_kind"] == 1
    assert "predicted baselines, in only one of the runs for 1 of the rows" in " ".join(values["notices"])


def test_hostile_file_names_and_texts_are_data(tmp_path: Path) -> None:
    folder = tmp_path / "it's \x1b[31m[b]"
    folder.mkdir()
    records: list[FakeRecord] = [scored(0.1, response="'; DROP TABLE pairs; --"), scored(0.2, response="\x00\ud800")]
    a = make_version(folder / "a'.audit", records[:1])
    b = make_version(folder / "b'.audit", [*records[:1], scored(0.3, response="x")])
    assert compare_runs(a, b)["counts"]["n_added"] == 1
