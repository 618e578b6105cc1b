"""The report of `make decisions`: what was promised beside what came out, and the tables behind it, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit.demo.phrases import TRAITS

MAX_NULL_RISKS: Final = 10
MIN_POWER: Final = 95
MIN_PRECISION: Final = 0.75
MIN_RECALL: Final = 0.60
FICTION_POINTS: Final = 0.05
MIN_SEEDS: Final = 45


def list_claims(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was promised before it was measured: `what`, `value`, `bar`, `met`."""
    claims: list[dict[str, Any]] = []

    def claim(what: str, value: float, bar: str, is_met: bool) -> None:
        claims.append({"what": what, "value": round(float(value), 4), "bar": bar, "met": bool(is_met)})

    if "rows" in parts:
        _claim_rows(parts["rows"], claim)
    if "clusters" in parts:
        found = parts["clusters"]
        n_named = found["clusters"]["either"]
        claim(
            "planted rows of one kind named as an enriched cluster, of 50",
            n_named,
            f">= {MIN_SEEDS}",
            n_named >= MIN_SEEDS,
        )
        n_found = found["unnamed"]["clean"]["n_found"]
        claim("withheld trait among three unnamed directions, of 50", n_found, f">= {MIN_SEEDS}", n_found >= MIN_SEEDS)
    return claims


def _claim_rows(found: Mapping[str, Any], claim: Any) -> None:
    n_risk = found["null"]["n_risk"]
    claim(
        f"clean draws with a risk verdict, of {found['null']['n_draws']}",
        n_risk,
        f"<= {MAX_NULL_RISKS}",
        n_risk <= MAX_NULL_RISKS,
    )
    for trait, own in found["power"]["0.1"].items():
        claim(
            f"10 % {trait}: draws that say risk, of {own['n_draws']}",
            own["risk"],
            f">= {MIN_POWER}",
            own["risk"] >= MIN_POWER,
        )
    for share, by_trait in found["discoveries"].items():
        for trait, own in by_trait.items():
            bar = 0.05 + 2 * own["standard_error"]
            claim(
                f"{float(share):.0%} {trait}: clean share of fdr flags",
                own["clean_share"],
                f"<= {bar:.4f}",
                own["is_held"],
            )
    flags = found["rules"][found["rule"]]
    claim(
        "default flags: mean precision",
        flags["mean_precision"],
        f">= {MIN_PRECISION}",
        flags["mean_precision"] >= MIN_PRECISION,
    )
    claim("default flags: mean recall", flags["mean_recall"], f">= {MIN_RECALL}", flags["mean_recall"] >= MIN_RECALL)
    bar = flags["fiction_share_of_data"] + FICTION_POINTS
    own = flags["fiction_share_of_flags"]
    claim("fiction that shows no trait, of the flags", own, f"<= {bar:.3f}", own <= bar)


def write_report(
    claims: Sequence[Mapping[str, Any]], parts: Mapping[str, Any], seconds: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the report."""
    lines = ["# Decisions, measured", ""]
    lines += _table(
        ["promised", "bar", "measured", "met"],
        [[c["what"], c["bar"], f"{c['value']:g}", "yes" if c["met"] else "**no**"] for c in claims],
    )
    for name in ("rows", "choice"):
        if name in parts:
            lines += _write_rows(parts[name], "Validation rows" if name == "choice" else "Fresh rows")
    if "rows" in parts:
        lines += _write_draws(parts["rows"])
    if "clusters" in parts:
        lines += _write_clusters(parts["clusters"])
    lines += ["", "Seconds: " + ", ".join(f"{name} {own['clock']:.0f}" for name, own in seconds.items())]
    return "\n".join(lines) + "\n"


def _write_rows(found: Mapping[str, Any], title: str) -> list[str]:
    lines = ["", f"## {title}: variants of the score", ""]
    head = ["score", *(f"AUC {trait}" for trait in TRAITS), "precision", "recall", "clean share of flags"]
    rows = [
        [name, *(_short(own["auc"][trait]) for trait in TRAITS), *_flag_cells(own)]
        for name, own in found["variants"].items()
    ]
    rows += [
        [f"{name} alone", *(_short(auc[trait]) for trait in TRAITS), "", "", ""]
        for name, auc in found.get("rivals", {}).items()
    ]
    rows += _rival_rows(found.get("validation"))
    lines += _table(head, rows)
    lines += ["", f"## {title}: rules, with the default score", ""]
    lines += _table(
        [
            "rule",
            "precision",
            "recall",
            "clean share of flags",
            "rows flagged",
            "fiction without a trait, of the flags (of the data)",
        ],
        [
            [
                rule,
                *_flag_cells(own),
                f"{own['n_flagged']:,}",
                f"{own['fiction_share_of_flags']:.3f} ({own['fiction_share_of_data']:.3f})",
            ]
            for rule, own in found["rules"].items()
        ],
    )
    return lines


def _rival_rows(validation: Mapping[str, Any] | None) -> list[list[str]]:
    """Return the AUC of the rivals that a validation measures and the pools do not."""
    if validation is None:
        return []
    found: dict[str, dict[str, str]] = {}
    for trait in validation["traits"]:
        for score in trait["scores"]:
            if score["is_rival"] and score["auc"] is not None and score["name"] not in ("length alone", "loss alone"):
                found.setdefault(score["name"], {})[trait["trait"]] = _short(score["auc"]["value"])
    return [[name, *(own.get(trait, "–") for trait in TRAITS), "", "", ""] for name, own in found.items()]


def _write_draws(found: Mapping[str, Any]) -> list[str]:
    null = found["null"]
    lines = ["", "## Verdicts", ""]
    lines.append(
        f"Of {null['n_draws']} draws of {null['n_rows']} clean rows {null['n_risk']} have a `risk`, "
        f"{null['n_watch_or_risk']} a `watch` or `risk`; {null['n_with_any_flag']} have a flagged row, "
        f"{null['mean_flagged']:.2f} on average."
    )
    lines += [
        "",
        *_table(
            ["share of rows that show it", *TRAITS],
            [
                [
                    f"{float(share):.0%}",
                    *(f"{own[trait]['risk']} risk, {own[trait]['watch']} watch" for trait in TRAITS),
                ]
                for share, own in found["power"].items()
            ],
        ),
    ]
    lines += ["", "## Clean rows among flags at a false discovery rate of .05 (standard error), and recall", ""]
    rows = [
        [f"{float(share):.0%}", *(_discovery(own[trait]) for trait in TRAITS)]
        for share, own in found["discoveries"].items()
    ]
    lines += _table(["share of rows that show it", *TRAITS], rows)
    lines += ["", f"With all four traits at 5 % each: {_discovery(found['crowded'])}."]
    return lines


def _discovery(own: Mapping[str, Any]) -> str:
    return f"{own['clean_share']:.4f} ({own['standard_error']:.4f}), {own['recall']:.2f}"


def _write_clusters(found: Mapping[str, Any]) -> list[str]:
    lines = ["", "## Clusters and unnamed directions", ""]
    lines += [f"- planted kinds: {_words(found['clusters'])}", f"- near-duplicates: {_words(found['near'])}"]
    lines += [
        "",
        *_table(
            ["first three directions", "draws with AUC ≥ .80", "mean AUC", "least"],
            [
                [name, f"{own['n_found']} of {own['n_draws']}", _short(own["mean_auc"]), _short(own["min_auc"])]
                for name, own in found["unnamed"].items()
            ],
        ),
    ]
    return lines


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items() if isinstance(value, int | float))


def _flag_cells(own: Mapping[str, Any]) -> list[str]:
    return [f"{own['mean_precision']:.3f}", f"{own['mean_recall']:.3f}", f"{own['clean_share']:.3f}"]


def _short(value: float) -> str:
    return f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
