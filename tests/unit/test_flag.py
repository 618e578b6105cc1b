"""Flags against a clean reference: which rows pass, which never do, and which references do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.errors import RunError
from audit.flag import Decision, decide, flag_trait
from audit.reference import (
    CombinedTurns,
    Reference,
    TraitReference,
    TraitRisks,
    TraitScores,
    check_reference,
    describe_turns,
    load_reference,
)
from audit.risk import Moments
from audit.rules import parse_rule
from tests.references import SHA, clean_reference, no_risks, records, trait_reference, trait_scores

EMPTY = TraitScores(2, SHA, np.zeros(0), np.zeros(0))


def flag(
    values: dict[str, np.ndarray],
    reference: Reference | None,
    rule: str = "quantile:95",
    **about: Any,
) -> tuple[Decision | None, dict[str, list[dict[str, Any]]]]:
    """Flag records by their scores; return the decision and the rows of each trait."""
    n = len(next(iter(values.values())))
    known, parsed = records(n, **about), parse_rule(rule)
    decision = None
    if reference is not None:
        decision = decide(
            parsed,
            lambda: ((reference.traits[trait], own) for trait, own in values.items()),
            known,
            is_combined=False,
        )
    rows = {
        trait: [
            row
            for table in flag_trait(
                trait,
                trait_scores(own),
                reference.traits[trait] if reference else None,
                decision,
                parsed,
                records=known,
                has_difference=True,
                risks=no_risks(n),
            )
            for row in table.to_pylist()
        ]
        for trait, own in values.items()
    }
    return decision, rows


def flagged_ids(rows: list[dict[str, Any]]) -> set[int]:
    return {row["sample_id"] for row in rows if row["flagged"]}


def test_fresh_clean_rows_pass_the_threshold_in_at_most_five_percent() -> None:
    generator = np.random.default_rng(1)
    shares = []
    for seed in range(60):
        threshold = clean_reference(seed, n=300).traits["evil"].flagged_with(is_combined=False).threshold
        shares.append((generator.normal(size=4000) > threshold).mean())
    assert 0.044 <= np.mean(shares) <= 0.0515


def test_rows_outside_the_domain_are_scored_but_never_flagged() -> None:
    values = np.asarray([9.0, 9.0, np.nan, -9.0])
    judged = np.asarray([True, False, True, True])
    _, found = flag(
        {"evil": values}, clean_reference(traits=("evil",)), sample_ids=np.asarray([10, 11, 12, 13]), judged=judged
    )
    table = found["evil"]
    assert [(row["sample_id"], row["flagged"]) for row in table] == [(10, True), (11, False), (13, False)]
    assert table[1]["q_value"] is None
    assert "domain" in table[1]["reason"]
    assert table[0]["percentile"] == 100.0
    assert table[0]["z"] == pytest.approx(9.0, rel=0.1)
    assert "SD of clean turns" in table[0]["reason"]


def test_a_conversation_does_not_look_bad_for_its_length() -> None:
    generator = np.random.default_rng(2)
    n = 4_000
    n_turns = np.repeat([1, 2, 5, 20], n // 4)
    largest = np.asarray([generator.normal(size=turns).max() for turns in n_turns])
    _, found = flag({"evil": largest}, clean_reference(3, n=5_000, traits=("evil",)), n_turns=n_turns)
    flagged = np.asarray([row["flagged"] for row in found["evil"]])
    shares = [flagged[n_turns == turns].mean() for turns in (1, 2, 5, 20)]
    assert all(0.03 <= share <= 0.07 for share in shares), shares


def mixture(seed: int, n: int = 1_000, n_bad: int = 50, shift: float = 4.5) -> tuple[dict[str, np.ndarray], Reference]:
    """Return clean rows behind `n_bad` rows that show the first trait and, weaker, the second."""
    names = tuple(f"trait{k}" for k in range(4))
    generator = np.random.default_rng(seed)
    values = {name: generator.normal(size=n) for name in names}
    values[names[0]][:n_bad] += shift
    values[names[1]][:n_bad] += 1.5
    return values, clean_reference(10_000 + seed, n=5_000, traits=names)


def test_of_rows_flagged_at_a_false_discovery_rate_at_most_that_share_is_clean() -> None:
    shares, found = [], []
    for seed in range(60):
        _, rows = flag(*mixture(seed), "fdr:0.1")
        flagged = set().union(*(flagged_ids(own) for own in rows.values()))
        shares.append(len({i for i in flagged if i >= 50}) / max(len(flagged), 1))
        found.append(len({i for i in flagged if i < 50}))
    assert np.mean(shares) <= 0.1 + 2 * np.std(shares) / 60**0.5
    assert np.mean(found) >= 42


def test_few_bad_rows_are_found_though_ranks_alone_could_not_tell_them() -> None:
    found = []
    for seed in range(20):
        _, rows = flag(*mixture(seed, n_bad=3, shift=6.0), "fdr:0.05")
        found.append(len(flagged_ids(rows["trait0"]) & {0, 1, 2}))
    assert np.mean(found) >= 1.5


def test_clean_rows_are_rarely_flagged_at_a_false_discovery_rate() -> None:
    n_runs = sum(bool(flagged_ids(flag(*mixture(seed, n_bad=0), "fdr:0.05")[1]["trait0"])) for seed in range(60))
    assert n_runs <= 8


def test_a_trait_that_only_goes_along_is_not_named() -> None:
    values, reference = mixture(1)
    _, rows = flag(values, reference, "fdr:0.2")
    strong = flagged_ids(rows["trait0"]) & set(range(50))
    assert len(strong) >= 45
    assert len(flagged_ids(rows["trait1"]) & strong) <= 10
    _, by_trait = flag(values, reference, "quantile:90")
    assert len(flagged_ids(by_trait["trait1"]) & strong) >= 25


def test_every_record_that_is_chosen_has_a_trait_to_its_name() -> None:
    decision, rows = flag(*mixture(2), "top-k:70")
    flagged = set().union(*(flagged_ids(own) for own in rows.values()))
    assert len(flagged) == 70
    assert decision is not None
    assert flagged <= set(np.argsort(decision.smallest_n)[:72].tolist())


def test_top_k_of_more_than_there_are_takes_all_that_stand_out_at_all() -> None:
    values = {"evil": np.asarray([9.0, 8.0, -9.0])}
    _, rows = flag(values, clean_reference(traits=("evil",)), "top-k:50", predicted=np.asarray([False, True, False]))
    assert flagged_ids(rows["evil"]) == {0}


def test_an_absolute_score_flags_with_and_without_a_reference() -> None:
    values = {"evil": np.asarray([0.5, 0.4, np.nan])}
    for reference in (clean_reference(traits=("evil",)), None):
        _, rows = flag(values, reference, "absolute:0.45")
        assert flagged_ids(rows["evil"]) == {0}
        assert "at least 0.45" in rows["evil"][0]["reason"]


def test_q_values_say_how_many_of_the_more_unusual_are_expected_to_be_clean() -> None:
    values, reference = mixture(4)
    decision, rows = flag(values, reference, "fdr:0.05")
    assert decision is not None
    p = {name: np.asarray([row["p_value"] for row in own]) for name, own in rows.items()}
    own_p = 1 - (1 - np.min(list(p.values()), axis=0)) ** 4
    # Benjamini and Hochberg by their definition.
    order = np.sort(own_p)
    for i in (0, 30, 200):
        expected = min(
            1.0, min(order[j] * len(order) / (j + 1) for j in range(len(order)) if order[j] >= own_p[i] - 1e-9)
        )
        best = min(rows[name][i]["q_value"] for name in rows)
        assert best == pytest.approx(expected, rel=1e-4)


def test_q_values_hold_for_every_trait_of_a_record_and_where_many_are_alike() -> None:
    values, reference = mixture(7)
    # One decimal: few scores, many records each.
    tied = {name: np.round(own, 1) for name, own in values.items()}
    _, rows = flag(tied, reference, "fdr:0.05")
    corrected = {name: 1 - (1 - np.asarray([row["p_value"] for row in own])) ** 4 for name, own in rows.items()}
    smallest = np.sort(np.min(list(corrected.values()), axis=0))
    # Of all cuts that take a record in: expected clean ones among those within, at the best of them.
    fdr_at = smallest * len(smallest) / np.searchsorted(smallest, smallest * (1 + 1e-6), side="right")
    for name, own_p in corrected.items():
        for p, row in zip(own_p[:200], rows[name], strict=False):
            within = fdr_at[smallest >= p * (1 - 1e-6)]
            assert row["q_value"] == pytest.approx(min(1.0, within.min(initial=1.0)), rel=1e-4)


def test_the_expected_number_of_false_flags_bounds_what_clean_rows_give() -> None:
    generator = np.random.default_rng(5)
    n_turns = generator.integers(1, 4, size=3_000)
    for rule in ("quantile:95", "absolute:1.8"):
        counts, expected = [], []
        for seed in range(20):
            reference = clean_reference(seed, n=4_000, traits=("evil",))
            largest = np.asarray([generator.normal(size=turns).max() for turns in n_turns])
            decision, rows = flag({"evil": largest}, reference, rule, n_turns=n_turns)
            assert decision is not None
            counts.append(len(flagged_ids(rows["evil"])))
            expected.append(decision.expect_false(reference.traits["evil"].plain, n_turns))
        assert np.mean(counts) == pytest.approx(np.mean(expected), rel=0.1)


@pytest.mark.parametrize("rule", ["fdr:0.05", "quantile:95", "top-k:3", "absolute:1"])
@pytest.mark.parametrize("values", [[], [1.0], [2.0] * 10, [np.nan] * 4])
def test_few_equal_or_missing_scores_give_rows_without_nan(rule: str, values: list[float]) -> None:
    ties = Reference(
        "clean",
        "f",
        "difference",
        {},
        200,
        {"evil": trait_reference(np.zeros(200)), "kind": trait_reference(np.zeros(200))},
    )
    for reference in (ties, clean_reference()):
        _, rows = flag({"evil": np.asarray(values), "kind": np.zeros(len(values))}, reference, rule)
        for row in (row for own in rows.values() for row in own):
            assert all(value == value for value in row.values())
            assert "nan" not in (row["reason"] or "")
            assert row["q_value"] is None or 0 <= row["q_value"] <= 1


def test_a_language_and_a_length_have_standard_deviations_of_their_own() -> None:
    generator = np.random.default_rng(6)
    n = 2_000
    language = ["en", "de"] * (n // 2)
    tokens = np.where(np.arange(n) < n // 2, 10.0, 100.0)
    values = generator.normal(size=n) + np.asarray([0.0, 5.0] * (n // 2)) + np.where(tokens == 100, 2.0, 0.0)
    clean = describe_turns(values, language_t=language, n_response_t=tokens, n_baseline_t=tokens)
    assert clean.bands["language de"].mean == pytest.approx(6.0, abs=0.2)
    assert clean.bands["tokens 65-128"].n == n // 2
    # Half of the difference between the lengths is explained by each of two columns that are the same.
    assert clean.lengths is not None
    expected = clean.lengths.expect(np.asarray([10.0, 100.0]), np.asarray([10.0, np.nan]))
    assert expected == pytest.approx([2.5, 4.5], abs=0.2)
    reference = Reference("c", "f", "difference", {}, n, {"evil": TraitReference(2, SHA, clean, 0.0, 1.0, n)})
    known = replace(
        records(3),
        language_n=np.asarray(["de", "en", None], dtype=object),
        n_tokens_n=np.asarray([10.0, 100.0, np.nan]),
    )
    scores = trait_scores(np.asarray([6.0, 6.0, 6.0]))
    rule = parse_rule("quantile:95")
    decision = decide(rule, lambda: iter([(reference.traits["evil"], scores.max_n)]), known, is_combined=False)
    (table,) = flag_trait(
        "evil", scores, reference.traits["evil"], decision, rule, records=known, has_difference=True, risks=no_risks(3)
    )
    z = table.to_pydict()
    assert z["z_language"][0] == pytest.approx((6 - clean.bands["language de"].mean) / clean.bands["language de"].sd)
    assert z["z_language"][1] > 3
    assert z["z_language"][2] is None
    assert z["z_length"][0] == pytest.approx((6 - clean.bands["tokens 1-16"].mean) / clean.bands["tokens 1-16"].sd)
    assert z["z_length"][2] is None


def test_a_reference_survives_its_file(tmp_path: Path) -> None:
    reference = clean_reference()
    (tmp_path / "reference.json").write_text(reference.to_json())
    assert load_reference(tmp_path / "reference.json") == {"difference": reference}


def test_a_damaged_reference_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text('{"source": 1}')
    with pytest.raises(RunError, match="no clean reference"):
        load_reference(tmp_path / "reference.json")


@pytest.mark.parametrize(
    ("fingerprint", "kind", "turns", "scores", "finding"),
    [
        ("other", "difference", "all", {"evil": EMPTY}, "model is f, this run's is other"),
        ("f", "projection", "all", {"evil": EMPTY}, "score kind is difference, this run's is projection"),
        ("f", "difference", "last", {"evil": EMPTY}, "turns is all, this run's is last"),
        ("f", "difference", "all", {"evil": trait_scores(np.zeros(0), layer=3)}, "layer of evil is 2, this run's is 3"),
        ("f", "difference", "all", {"greedy": EMPTY}, "no scores for greedy"),
    ],
)
def test_a_reference_scored_another_way_is_refused(
    fingerprint: str, kind: str, turns: str, scores: dict[str, TraitScores], finding: str
) -> None:
    with pytest.raises(RunError, match=finding):
        check_reference(
            clean_reference(),
            model_fingerprint=fingerprint,
            score_kind=kind,
            scored_with={"baseline": "generate", "turns": turns},
            scores=scores,
        )


def test_a_predicted_row_is_never_flagged_and_lies_among_scores_of_its_own_kind() -> None:
    clean = describe_turns(np.linspace(-1.0, 1.0, 200), predicted_t=np.linspace(-10.0, 10.0, 200))
    trait = TraitReference(2, SHA, clean, 0.0, 0.6, 200)
    reference = Reference("c", "f", "difference", {}, 200, {"evil": trait})
    values = {"evil": np.asarray([5.0, 5.0, 0.0, 0.0])}
    predicted = np.asarray([True, False, True, False])
    _, rows = flag(values, reference, predicted=predicted)
    found = rows["evil"]
    assert [row["flagged"] for row in found] == [False, True, False, False]
    assert [row["percentile"] for row in found] == pytest.approx([75.0, 100.0, 50.0, 50.0], abs=0.5)
    # Rows without a true score count among the tests, and none of them is a discovery.
    assert [row["q_value"] is None for row in found] == [True, False, True, False]
    assert found[1]["q_value"] == pytest.approx(4 / 201, rel=1e-5)
    assert [row["reason"] is not None and "predicted" in row["reason"] for row in found] == [True, False, True, False]
    without = replace(reference, traits={"evil": replace(trait, plain=replace(clean, predicted_sorted=()))})
    _, rows = flag(values, without, predicted=predicted)
    assert [row["z"] is None for row in rows["evil"]] == [True, False, True, False]


def test_a_sample_without_a_combined_score_is_neither_flagged_nor_tested() -> None:
    clean = describe_turns(np.linspace(-1.0, 1.0, 200))
    moments = Moments(0.0, 1.0, 0.0, 1.0)
    reference = TraitReference(2, SHA, clean, 0.0, 0.6, 200, CombinedTurns(moments, clean))
    nothing, risk = np.full(2, np.nan), np.asarray([9.0, np.nan])
    rule, known = parse_rule("quantile:95"), records(2)
    decision = decide(rule, lambda: iter([(reference, risk)]), known, is_combined=True)
    (found,) = flag_trait(
        "evil",
        trait_scores(np.asarray([9.0, 9.0])),
        reference,
        decision,
        rule,
        records=known,
        has_difference=True,
        risks=TraitRisks(nothing, nothing, nothing, nothing, risk, None),
    )
    assert found["flagged"].to_pylist() == [True, False]
    # One test alone, not two.
    assert found["q_value"].to_pylist() == [pytest.approx(1 / 201, rel=1e-5), None]
    assert "mostly the difference (difference +9.0, evidence +0.0 SD)" in found["reason"].to_pylist()[0]
