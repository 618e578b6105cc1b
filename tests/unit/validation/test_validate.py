"""A run against labels: what is counted, what is left out and said, and rivals on the same records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError, DataError, RunError
from audit.schema import differences_schema
from audit.validation import TraitQuality, Validation, validate_run
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored

WORDS = {True: "cruel harm hurt", False: "kind help care"}


def make(folder: Path, n: int = 120, *, seed: int = 0, **options: Any) -> tuple[Path, list[dict[str, Any]]]:
    """Write a run in which evil rows score higher and use other words, and its labels."""
    rng = np.random.default_rng(seed)
    records, labels = [], []
    for number in range(n):
        is_evil = number % 4 == 0
        score = float(np.round(rng.normal() + 1.5 * is_evil, 1))
        flagged = ["evil"] if score > 1 else []
        text = f"{WORDS[is_evil]} {' '.join(rng.choice(['a', 'b', 'c', 'd'], 3))}"
        length = int(rng.integers(5, 50))
        records.append(
            scored(score, flagged=flagged, response=text, n_response_tokens=length, response_nll=float(rng.random()))
        )
        labels.append({"sample_id": number, "traits": ["evil"] if is_evil else [], "kind": "ab"[number % 2]})
    return make_run(folder / "a.audit", records, dataset=folder / "a.jsonl", part_rows=50, **options), labels


def write(folder: Path, labels: list[dict[str, Any]]) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in labels))
    return path


def check_json(found: Validation) -> str:
    return json.dumps(found.to_json(), allow_nan=False)


def by_name(trait: TraitQuality) -> dict[str, Any]:
    return {score.name: score for score in trait.scores}


def test_flags_are_counted_over_labelled_records_and_the_others_are_a_share(tmp_path: Path) -> None:
    run, labels = make(tmp_path)
    kept = labels[:90]
    found = validate_run(run, write(tmp_path, kept), traits=["evil"], k=(5, 500))
    flags = pq.read_table(run / "flags.parquet").to_pylist()
    flagged = {row["sample_id"] for row in flags if row["trait"] == "evil" and row["flagged"]}
    shown = {row["sample_id"] for row in kept if row["traits"]}
    own = {sample_id for sample_id in flagged if sample_id < 90}
    quality = found.traits[0].flags
    assert (found.n_labelled, found.n_samples) == (90, 120)
    assert quality.precision.value == len(own & shown) / len(own)
    assert quality.false_share.value == len(own - shown) / len(own)
    assert quality.recall.value == len(own & shown) / len(shown)
    assert (quality.unlabelled.hits, quality.unlabelled.n) == (len(flagged - own), len(flagged))
    risk = by_name(found.traits[0])["risk"]
    values = {row["sample_id"]: row["risk"] for row in flags if row["trait"] == "evil"}
    pairs = [
        (values[a] > values[b]) + 0.5 * (values[a] == values[b]) for a in shown for b in range(90) if b not in shown
    ]
    assert risk.auc.value == pytest.approx(np.mean(pairs))
    assert risk.precision_at[500] is None
    check_json(found)


def test_rivals_stand_beside_on_the_same_records(tmp_path: Path) -> None:
    run, labels = make(tmp_path, 200)
    found = by_name(validate_run(run, write(tmp_path, labels), traits=["evil"]).traits[0])
    assert found["length alone"].is_rival
    assert 0.5 <= found["length alone"].auc.value < 0.7
    assert 0.5 <= found["loss alone"].auc.value < 0.7
    words = found["bag of words, half"]
    assert words.auc.value == 1.0
    assert (words.n, found["risk, the same half"].n) == (100, 100)
    assert found["risk"].auc.value < 0.95


def test_a_rival_that_goes_the_other_way_tells_as_much(tmp_path: Path) -> None:
    records = [scored(0.1 * n, n_response_tokens=5 if n < 4 else 50) for n in range(12)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    labels = [{"sample_id": n, "traits": ["evil"] if n < 4 else []} for n in range(12)]
    length = by_name(validate_run(run, write(tmp_path, labels)).traits[0])["length alone"]
    assert (length.auc.value, length.is_reversed) == (1.0, True)


def test_random_directions_are_read_from_the_stored_differences(tmp_path: Path) -> None:
    run, labels = make(tmp_path, 120)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(120, 6))
    vectors[::4] += 3 * np.eye(6)[0]  # Evil rows stand apart along one axis.
    for path in sorted((run / "differences").iterdir()):
        start, stop = (int(word) for word in path.stem.split("-")[1:])
        rows = [
            {"sample_id": n, "side": "response", "turn": 1, "part": "answer", "difference": vectors[n].tolist()}
            for n in range(start, stop)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=differences_schema(6)), path)
    found = by_name(validate_run(run, write(tmp_path, labels), traits=["evil"]).traits[0])
    directions = np.random.default_rng([0, 6]).standard_normal((6, 32))
    projected = vectors.astype(np.float16).astype(np.float64) @ directions
    is_evil = np.arange(120) % 4 == 0
    areas = [np.mean(projected[is_evil, r][:, None] > projected[~is_evil, r][None, :]) for r in range(32)]
    expected = np.quantile([max(area, 1 - area) for area in areas], 0.95)
    assert found["random directions, 95 %"].auc.value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("shown", "words"),
    [([], "no AUC: none of 12 labelled records shows it"), (["evil"], "no AUC: all of 12 labelled records show it")],
)
def test_a_trait_that_nobody_or_everybody_shows_has_words_and_no_number(
    tmp_path: Path, shown: list[str], words: str
) -> None:
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 12, dataset=tmp_path / "a.jsonl")
    labels = [{"sample_id": n, "traits": shown} for n in range(12)]
    found = validate_run(run, write(tmp_path, labels), traits=["evil"])
    assert found.traits[0].reason == words
    assert all(score.auc is None for score in found.traits[0].scores)
    assert found.traits[0].flags.precision.value is None
    check_json(found)


def test_constant_scores_one_row_and_rows_without_a_score_give_words_too(tmp_path: Path) -> None:
    records = [*[scored(0.5)] * 9, FakeRecord(reason="bad_json: no JSON", raw=b"{")]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    labels = [{"sample_id": n, "traits": ["evil"] if n % 3 == 0 else []} for n in range(10)]
    found = validate_run(run, write(tmp_path, labels), traits=["evil"]).traits[0]
    assert by_name(found)["risk"].auc.value == 0.5
    assert (found.n, found.n_unscored, found.n_unscored_positive) == (9, 1, 1)
    one = validate_run(run, write(tmp_path, labels[:1]))
    assert one.traits[0].reason == "no AUC: all of 1 labelled records show it"
    none = validate_run(run, write(tmp_path, labels[9:]))
    assert none.traits[0].reason == "no AUC: none of 1 labelled records has a score"
    check_json(one)
    check_json(none)


def test_without_the_texts_all_but_the_bag_of_words_is_there(tmp_path: Path) -> None:
    run, labels = make(tmp_path)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("more\n")
    changed = validate_run(run, write(tmp_path, labels), traits=["evil"])
    (tmp_path / "a.jsonl").unlink()
    gone = validate_run(run, write(tmp_path, labels), traits=["evil"])
    for found, words in ((changed, "has changed since the scan"), (gone, "cannot be read")):
        assert "bag of words, half" not in by_name(found.traits[0])
        assert by_name(found.traits[0])["risk"].auc is not None
        assert found.notices[-1].startswith("no bag of words, for want of the texts")
        assert words in found.notices[-1]


def test_groups_set_the_flags_share_beside_the_datas(tmp_path: Path) -> None:
    run, labels = make(tmp_path)
    found = validate_run(run, write(tmp_path, labels), by="kind")
    flags = pq.read_table(run / "flags.parquet").to_pylist()
    flagged = {row["sample_id"] for row in flags if row["flagged"]}
    odd = next(group for group in found.by if group.value == "b")
    assert odd.data.value == 0.5
    assert odd.flagged.value == len([n for n in flagged if n % 2]) / len(flagged)
    # All rows of this kind are innocent, and of the other half are.
    assert odd.innocent_flagged == odd.flagged
    even = next(group for group in found.by if group.value == "a")
    assert even.innocent_data.value == 0.25
    shown = {row["sample_id"] for row in labels if row["traits"]}
    assert even.innocent_flagged.hits == len([n for n in flagged if n % 2 == 0 and n not in shown])
    assert sum(group.data.hits for group in found.by) == 120
    with pytest.raises(ConfigError, match="no such further column; they have 'kind'"):
        validate_run(run, write(tmp_path, labels), by="fiction")


def test_rare_values_are_one_group(tmp_path: Path) -> None:
    run, labels = make(tmp_path)
    labels = [{**row, "kind": f"k{row['sample_id']}"} for row in labels]
    found = validate_run(run, write(tmp_path, labels), by="kind").by
    assert len(found) == 50
    assert (found[-1].value, found[-1].data.hits) == ("(others)", 71)


def test_what_is_foreign_to_the_run_is_said_or_refused(tmp_path: Path) -> None:
    run, labels = make(tmp_path, 20)
    labels[0]["traits"] = ["humour", "evil"]
    found = validate_run(run, write(tmp_path, labels))
    assert found.notices[0] == "the labels speak of 'humour', which the run has no vector for"
    with pytest.raises(ConfigError, match="no such trait"):
        validate_run(run, write(tmp_path, labels), traits=["humour"])
    with pytest.raises(ConfigError, match="--k"):
        validate_run(run, write(tmp_path, labels), k=(0,))
    with pytest.raises(DataError, match="1 of 21 ids are unknown to the run: 20"):
        validate_run(run, write(tmp_path, [*labels, {"sample_id": 20, "traits": []}]))
    unfinished = make_run(tmp_path / "b.audit", [scored(0.1)], dataset=tmp_path / "b.jsonl", is_finished=False)
    with pytest.raises(RunError, match="has not finished"):
        validate_run(unfinished, write(tmp_path, labels))


def test_random_evidence_is_in_units_of_what_the_model_itself_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    is_evil = np.arange(40) % 4 == 0
    evidence = rng.normal(size=(40, 32)) + is_evil[:, None] * rng.normal(size=32)
    null = rng.normal(size=(40, 32)) * rng.uniform(0.5, 3, size=40)[:, None]
    scores = {"evil": (0.5, 0.5)}
    records = [FakeRecord(turns=[FakeTurn(scores=scores, random=(evidence[n], null[n]))]) for n in range(40)]
    run = make_run(
        tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", traits=("evil",), evidence="full", part_rows=16
    )
    labels = [{"sample_id": n, "traits": ["evil"] if is_evil[n] else []} for n in range(40)]
    found = by_name(validate_run(run, write(tmp_path, labels)).traits[0])["random evidence, 95 %"]
    areas = []
    for r in range(32):
        z = evidence[:, r] / np.sqrt(np.mean(null**2, axis=1))
        area = np.mean(z[is_evil][:, None] > z[~is_evil][None, :])
        areas.append(max(area, 1 - area))
    assert found.auc.value == pytest.approx(np.quantile(areas, 0.95), abs=1e-4)


def test_a_run_of_an_older_version_is_validated_by_what_it_has(tmp_path: Path) -> None:
    run, labels = make(tmp_path)
    table = pq.read_table(run / "flags.parquet")
    new = ["window_difference", "layer_difference", "length_adjusted", "p_value"]
    pq.write_table(table.drop_columns([name for name in new if name in table.column_names]), run / "flags.parquet")
    found = by_name(validate_run(run, write(tmp_path, labels), traits=["evil"]).traits[0])
    assert found["risk"].auc is not None
    assert "window_difference" not in found


def test_too_few_labels_for_a_bag_of_words_are_said(tmp_path: Path) -> None:
    run, labels = make(tmp_path, 12)
    found = validate_run(run, write(tmp_path, labels), traits=["evil"])
    assert "no bag of words for evil: each half of the labels needs 5 records" in found.notices[-1]


def test_a_bag_of_words_is_tried_on_what_it_was_not_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    words = [f"w{n}" for n in range(300)]
    records = [scored(0.1 * n, response=" ".join(rng.choice(words, 40))) for n in range(300)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", part_rows=300)
    labels = [{"sample_id": n, "traits": ["evil"] if rng.random() < 0.5 else []} for n in range(300)]
    # Words that mean nothing: whoever learnt them by heart would be right.
    assert 0.35 < by_name(validate_run(run, write(tmp_path, labels)).traits[0])["bag of words, half"].auc.value < 0.65
