"""The job: read the texts of the chosen records, have the judge rate every answer that it has not rated yet, store.

The judge is asked for one number an answer, by the trait's own rubric. A record has the largest of its answers that
count. Numbers are kept as they come; what is on the sheet is not asked again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from audit.errors import ServerError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, Warned, ignore_events
from audit.judged import RANDOM, write_opinions
from audit.judges import Asked, Rated, Rater
from audit.opinions.agreement import Agreement, describe_agreement
from audit.opinions.draw import FLAGGED
from audit.opinions.plan import Plan
from audit.opinions.question import shorten_answer, write_question
from audit.opinions.sheet import JudgeSheet, opened_sheet
from audit.store import JUDGE_SHEET
from audit.texts import read_answers
from audit.traits import TraitSpec

_STAGE = "judging"


@dataclass(frozen=True, slots=True)
class Opinions:
    """What came of it.

    Attributes:
        n_records: records that were judged in this call, once for every trait.
        n_calls: answers that the judge was asked about now; `n_reused` had a number already.
        n_tokens: of these calls, where the server counts them.
    """

    run: str
    judge: str
    weakness: str
    threshold: float
    traits: tuple[Agreement, ...]
    n_records: int
    n_calls: int
    n_reused: int
    n_tokens: int | None
    notices: tuple[str, ...]


def judge_planned(
    plan: Plan, judge: Rater, *, has_context: bool = True, listener: Listener = ignore_events
) -> Opinions:
    """Ask the judge about what was planned, and store what it says in `judge.parquet`.

    Args:
        has_context: show the judge the whole conversation, not the last question alone.

    Raises:
        AuditError: the judge cannot be asked any more; what it said is kept, and is not asked again.
    """
    path = plan.run_path / JUDGE_SHEET
    with opened_sheet(path) as sheet:
        asking = _Asking(plan, judge, sheet, has_context=has_context, listener=listener)
        rows = asking.judge()
    described = {
        trait: {
            "judge": judge.identity,
            "name": judge.name,
            "weakness": judge.weakness,
            "spec_sha256": spec.digest,
            "has_context": has_context,
            **plan.settings,
        }
        for trait, spec in plan.specs.items()
    }
    write_opinions(plan.run_path, rows, described)
    return Opinions(
        run=str(plan.run_path),
        judge=_name(judge),
        weakness=judge.weakness,
        threshold=plan.threshold,
        traits=tuple(describe_agreement(plan.run_path, list(plan.specs))),
        n_records=len(rows),
        n_calls=asking.n_calls,
        n_reused=asking.n_reused,
        n_tokens=asking.n_tokens,
        notices=plan.notices,
    )


def _name(judge: Rater) -> str:
    model = judge.identity.get("model")
    return f"{judge.name}: {model}" if model else judge.name


@dataclass(slots=True)
class _Record:
    """A record on its way: numbers of its answers so far, and why others have none."""

    trait: str
    sample_id: int
    n_open: int
    numbers: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class _Asking:
    """Asks for all that is planned; numbers come in any order."""

    def __init__(self, plan: Plan, judge: Rater, sheet: JudgeSheet, *, has_context: bool, listener: Listener) -> None:
        self.n_calls = self.n_reused = 0
        self.n_tokens: int | None = None
        self._plan, self._judge, self._sheet, self._listener = plan, judge, sheet, listener
        self._has_context = has_context
        self._identity = json.dumps(judge.identity, sort_keys=True)
        self._waiting: dict[bytes, list[_Record]] = {}
        self._records: list[_Record] = []
        self._voids: Counter[str] = Counter()

    def judge(self) -> list[dict[str, Any]]:
        """Return the rows of JUDGE."""
        self._listener(StageStarted(_STAGE, self._plan.n_records, "records"))
        try:
            for rated in self._judge.rate_each(self._find_missing()):
                self._take(rated)
        except ServerError as error:
            cure = f"{error.cure}; the {self.n_calls:,} numbers so far are kept, the same command continues"
            raise ServerError(error.place, error.finding, cure.removeprefix("; ")) from error
        self._listener(StageFinished(_STAGE))
        if self._voids:
            most = self._voids.most_common(1)[0][0]
            n_void = self._voids.total()
            self._listener(Warned(f"the judge's word is void for {n_void:,} answers, most often: {most}"))
        found = {(record.trait, record.sample_id): record for record in self._records}
        return [
            self._make_row(trait, int(sample_id), draw, found.get((trait, int(sample_id))))
            for trait, drawn in self._plan.drawn.items()
            for draw, ids in ((RANDOM, drawn.random), (FLAGGED, drawn.flagged))
            for sample_id in ids
        ]

    def _find_missing(self) -> Iterator[Asked]:
        """Yield answers without a number, each once however often it stands in the data."""
        traits_of: dict[int, list[str]] = {}
        for trait, drawn in self._plan.drawn.items():
            for sample_id in (*drawn.random.tolist(), *drawn.flagged.tolist()):
                traits_of.setdefault(sample_id, []).append(trait)
        for sample_id, answers in read_answers(self._plan.inputs, self._plan.manifest, traits_of.keys()):
            own = [answer for answer in answers if (sample_id, answer.side, answer.turn) in self._plan.counted]
            texts = [
                (write_question(answer.prompt, has_context=self._has_context), shorten_answer(answer.text))
                for answer in own
            ]
            for trait in traits_of[sample_id]:
                record = _Record(trait, sample_id, n_open=len(texts))
                self._records.append(record)
                for question, answer in texts:
                    spec = self._plan.specs[trait]
                    key = _key(self._identity, spec, question, answer)
                    number = self._sheet.read_number(key) if answer.strip() else 0.0
                    if number is not None:
                        self.n_reused += bool(answer.strip())
                        self._settle(record, number, None)
                    elif key in self._waiting:
                        self._waiting[key].append(record)
                    else:
                        self._waiting[key] = [record]
                        yield Asked(key, spec, question, answer)

    def _take(self, rated: Rated) -> None:
        self.n_calls += 1
        if rated.n_tokens is not None:
            self.n_tokens = (self.n_tokens or 0) + rated.n_tokens
        if rated.number is None:
            # Not kept: a server may have failed, and the same command asks again.
            self._voids[rated.reason or "no number"] += 1
        else:
            self._sheet.write_number(rated.asked.key, rated.number)
        for record in self._waiting.pop(rated.asked.key):
            self._settle(record, rated.number, rated.reason)

    def _settle(self, record: _Record, number: float | None, reason: str | None) -> None:
        if number is None:
            record.reasons.append(reason or "no number")
        else:
            record.numbers.append(number)
        record.n_open -= 1
        if record.n_open == 0:
            self._listener(StageAdvanced(_STAGE, 1))

    def _make_row(self, trait: str, sample_id: int, draw: str, record: _Record | None) -> dict[str, Any]:
        score = max(record.numbers) if record is not None and record.numbers else None
        reason = None
        if record is None or not (record.numbers or record.reasons):
            reason = "no answer that counts can be read"
        elif record.reasons and (score is None or score < self._plan.threshold):
            # Of what was not judged nobody knows whether it is more.
            n = len(record.numbers) + len(record.reasons)
            score, reason = None, f"{len(record.reasons)} of {n} answers: {record.reasons[0]}"
        return {
            "sample_id": sample_id,
            "trait": trait,
            "draw": draw,
            "judge_score": score,
            "is_judged_present": None if score is None else score >= self._plan.threshold,
            "reason": reason,
        }


def _key(identity: str, spec: TraitSpec, question: str, answer: str) -> bytes:
    parts = json.dumps([identity, spec.digest, question, answer])
    return hashlib.sha256(parts.encode()).digest()
