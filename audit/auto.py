"""`--baseline auto`: generate y′ where it can change a flag, predict it elsewhere, and know what that may miss.

Reads every response once, generates for a random part, learns to predict the baseline from the prompt, and lets the
cascade choose whose y′ is generated next. What is decided is written down, so a continued scan decides nothing anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.baseline_turns import RANDOM_DRAW
from audit.cascade import calibrate_chances, choose_random_rows, flag_chances, run_cascade
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted
from audit.generation import Answering
from audit.inputs import read_chosen, read_range
from audit.known import KnownTurn, KnownTurns, Prediction, ResponseTable, load_prediction, read_response_tables
from audit.parts import find_gaps, split_blocks
from audit.plan import Plan
from audit.predict import cross_fit
from audit.reference import CleanTurns, Reference, find_moments
from audit.responses import read_responses
from audit.risk import FlagRule, Moments
from audit.rules import Rule, parse_rule
from audit.samples import Sample
from audit.schema import SCORED_SIDES
from audit.score import FLAG_PERCENTILE
from audit.shard import BLOCK_ROWS, score_turns
from audit.states import ScoringJob, TurnState
from audit.store import PREDICTION, RESPONSES, Part, RunStore, write_table
from audit.surplus import UNUSUAL_SHARE


def choose_baselines(
    store: RunStore,
    manifest: dict[str, Any],
    plan: Plan,
    job: ScoringJob,
    answering: Answering,
    reference: Reference | None,
    listener: Listener,
) -> ScoringJob:
    """Decide which prompts are answered, answer them, and return the job with all that scores need.

    Writes `baseline.auto` of the manifest. The job has `answers`; its `known` holds responses and predictions.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
        RunError: the run directory cannot be written, or is damaged.
    """
    job = replace(job, answers=answering.sheet)
    _read_all(store, plan, job, listener)
    if manifest["baseline"]["auto"] is None or not (store.path / PREDICTION).is_file():
        work = _Work(store, plan, job, answering, listener)
        prediction, report = work.decide(reference, find_moments(reference, manifest))
        prediction.save(store)
        manifest["baseline"]["auto"] = report
        store.write_manifest(manifest)
    return replace(job, known=_open_known(store, job, load_prediction(store)))


def _open_known(store: RunStore, job: ScoringJob, prediction: Prediction | None) -> KnownTurns:
    return KnownTurns(store, len(job.directions), job.reduction.shape[1], prediction)


def _read_all(store: RunStore, plan: Plan, job: ScoringJob, listener: Listener) -> None:
    """Read the responses of every record that no finished part of them covers."""
    (store.path / RESPONSES).mkdir(exist_ok=True)
    n, config = plan.inputs.n_records, plan.config
    parts = store.parts(RESPONSES)
    listener(StageStarted("reading responses", n, "rows", done=sum(part.n_rows for part in parts)))
    for start, stop in find_gaps(parts, n):
        records = read_range(plan.inputs, start, stop, turns=config.turns, strict=config.strict)
        pending: list[ResponseTable] = []
        part_start = start
        for block_start, block_stop in split_blocks(start, stop, config.shard_rows):
            block = list(islice(records, block_stop - block_start))
            pending.append(read_responses([record for record in block if isinstance(record, Sample)], job))
            listener(StageAdvanced("reading responses", len(block)))
            if block_stop == stop or block_stop % config.shard_rows == 0:
                part = Part(part_start, block_stop)
                write_table(store.table_path(RESPONSES, part), _join(pending).to_arrow())
                pending, part_start = [], block_stop
    listener(StageFinished("reading responses"))


def _join(tables: Sequence[ResponseTable]) -> ResponseTable:
    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name) for table in tables])

    return ResponseTable(
        [key for table in tables for key in table.keys],
        *(joined(field.name) for field in fields(ResponseTable)[1:]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Turns:
    """All turns of the run, in order (t): the row of each among `sample_ids`, its prompt, whether it can flag a row."""

    sample_ids: NDArray[np.int64]
    row_t: NDArray[np.int64]
    prompt_t: NDArray[np.int64]
    counts_t: NDArray[np.bool_]
    is_predictable_t: NDArray[np.bool_]

    def prompts_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the prompts of rows, rising."""
        return np.unique(self.prompt_t[np.isin(self.row_t, rows)])


class _Work:
    """The decisions of one run."""

    def __init__(self, store: RunStore, plan: Plan, job: ScoringJob, answering: Answering, listener: Listener) -> None:
        self._store, self._plan, self._answering, self._listener = store, plan, answering, listener
        self._job = replace(job, known=_open_known(store, job, None), is_nll_for_all=False)
        self._turns = self._gather_turns()

    def decide(
        self, reference: Reference | None, moments: dict[str, Moments] | None
    ) -> tuple[Prediction, dict[str, Any]]:
        """Return how baselines are predicted, and what the manifest keeps of it.

        Args:
            moments: see `reference.find_moments`; the cascade looks for the flags that the run will make.
        """
        traits = self._job.units
        rule = FlagRule(len(traits), tuple(moments[trait] for trait in traits) if moments else None)
        turns, seed = self._turns, self._plan.config.seed
        n_rows = len(turns.sample_ids)
        random_rows = choose_random_rows(n_rows, seed)
        # What cannot be predicted is not left to chance.
        forced = np.setdiff1d(np.unique(turns.row_t[~turns.is_predictable_t]), random_rows)
        measured = self._measure(random_rows, RANDOM_DRAW)
        prediction, fit_r2_k, residual_mk = self._learn(measured, turns.sample_ids[random_rows])
        threshold_k, has_reference = self._find_thresholds(reference, measured, rule)
        flagged_n = np.zeros(n_rows, dtype=bool)
        flagged_n[random_rows] = self._flag(random_rows, measured, threshold_k, rule)

        def reveal(rows: NDArray[np.int64], purpose: str) -> NDArray[np.bool_]:
            return self._flag(rows, self._measure(rows, purpose), threshold_k, rule)

        if len(forced):
            flagged_n[forced] = reveal(forced, "chosen-0")
        known = np.union1d(random_rows, forced)
        predicted_tk, row_t = self._predict_scores(prediction, rule)
        p_n = flag_chances(predicted_tk, row_t, n_rows, rule.scale(residual_mk), threshold_k, seed=seed)
        p_n = calibrate_chances(p_n, p_n[random_rows], flagged_n[random_rows])
        report = run_cascade(p_n, known, flagged_n[known], reveal, seed=seed)
        return prediction, {
            **asdict(report),
            "n_random": len(random_rows),
            "n_chosen": report.n_chosen + len(forced),
            "has_reference": has_reference,
            "r2": dict(zip(self._job.units, np.round(fit_r2_k, 6).tolist(), strict=True)),
            "residual_sd": dict(zip(self._job.units, np.round(prediction.error_k, 6).tolist(), strict=True)),
        }

    def _gather_turns(self) -> _Turns:
        ids, prompts, counts, predictable = [], [], [], []
        for table in self._tables():
            ids.append(np.array([key[0] for key in table.keys], dtype=np.int64))
            prompts.append(table.prompt_n)
            is_answer = np.array([key[3] == "answer" for key in table.keys], dtype=bool)
            counts.append(is_answer & np.array([key[1] in SCORED_SIDES for key in table.keys], dtype=bool))
            predictable.append(is_answer & np.isfinite(table.feature_nf).all(axis=1))
        sample_ids, row_t = np.unique(np.concatenate(ids), return_inverse=True)
        return _Turns(sample_ids, row_t, *(np.concatenate(each) for each in (prompts, counts, predictable)))

    def _tables(self) -> Iterator[ResponseTable]:
        return read_response_tables(self._store, len(self._job.directions), self._job.reduction.shape[1])

    def _measure(self, rows: NDArray[np.int64], draw: str) -> list[TurnState]:
        """Generate y′ for the prompts of rows, and return the scored turns of those rows."""
        sheet = self._answering.sheet
        sheet.draw_prompts(self._turns.prompts_of(rows).tolist(), draw)
        self._answering.answer_draw(draw, self._job)
        stage = f"scoring what was drawn ({draw})"
        self._listener(StageStarted(stage, len(rows), "rows"))
        chosen = frozenset(self._turns.sample_ids[rows].tolist())
        samples = read_chosen(self._plan.inputs, chosen, turns=self._plan.config.turns)
        states: list[TurnState] = []
        while block := list(islice(samples, BLOCK_ROWS)):
            for state in score_turns(block, self._job):
                if state.baseline_projection_k is not None:
                    # Only the numbers are kept: texts and tokens of all rows would not fit into memory.
                    state.rendered = state.tokens = state.baseline = state.evidence = None
                    state.baseline_texts = state.baseline_tokens = ()
                    if state.known is not None:
                        # A view would keep a whole part's values in memory.
                        kept = {own.name: getattr(state.known, own.name).copy() for own in fields(KnownTurn)}
                        kept["evidence_v"] = state.known.evidence_v[: 2 * len(self._job.units)].copy()
                        state.known = KnownTurn(**kept)
                        state.projection_k, state.prompt_projection_k = state.known.own_k, state.known.prompt_k
                        state.window_k = state.known.window_w
                    states.append(state)
            self._listener(StageAdvanced(stage, len(block)))
        self._listener(StageFinished(stage))
        return states

    def _learn(
        self, measured: Sequence[TurnState], random_ids: NDArray[np.int64]
    ) -> tuple[Prediction, NDArray[np.float64], NDArray[np.float64]]:
        """Fit the prediction to the answers of random rows; return it with R² by trait and residuals by turn."""
        wanted = {state.key: state for state in measured if state.turn.part == "answer"}
        features, outputs, prompts = [], [], []
        for table in self._tables():
            for place, key in enumerate(table.keys):
                state = wanted.get(key)
                if state is None or not np.isfinite(table.feature_nf[place]).all():
                    continue
                assert state.baseline_projection_k is not None
                assert state.difference_r is not None
                features.append(table.feature_nf[place])
                outputs.append(np.concatenate([state.baseline_projection_k, table.own_nr[place] - state.difference_r]))
                prompts.append(int(table.prompt_n[place]))
        # Turns of one prompt share its baseline: it is learned once.
        learned_from, first = np.unique(prompts, return_index=True)
        fit = cross_fit(np.stack(features)[first], np.stack(outputs)[first], seed=self._plan.config.seed)
        k, n_flag = len(self._job.units), self._job.n_flag_directions
        error_k = np.sqrt((fit.residual_no[:, :k] ** 2).mean(axis=0))
        prediction = Prediction(fit.model, learned_from, fit.out_of_sample_no, error_k, random_ids)
        return prediction, fit.r2_o[:k], fit.residual_no[:, :n_flag]

    def _find_thresholds(
        self, reference: Reference | None, measured: Sequence[TurnState], rule: FlagRule
    ) -> tuple[NDArray[np.float64], bool]:
        """Return the score of each trait above which y′ must be true: the reference's, or the top twentieth's."""
        if reference is not None:
            clean = [reference.traits[trait] for trait in self._job.units]
            is_combined = rule.moments is not None
            known = [own.flagged_with(is_combined=is_combined) for own in clean]
            return np.array([_find_threshold(parse_rule(self._plan.config.flag), turns) for turns in known]), True
        scores = [self._score(state, rule) for state in measured if _can_flag(state)]
        return np.percentile(np.stack(scores), FLAG_PERCENTILE, axis=0), False

    def _flag(
        self,
        rows: NDArray[np.int64],
        states: Sequence[TurnState],
        threshold_k: NDArray[np.float64],
        rule: FlagRule,
    ) -> NDArray[np.bool_]:
        flagged_ids = {
            state.sample_id
            for state in states
            if _can_flag(state) and bool((self._score(state, rule) > threshold_k).any())
        }
        return np.array([int(sample_id) in flagged_ids for sample_id in self._turns.sample_ids[rows]], dtype=bool)

    def _predict_scores(self, prediction: Prediction, rule: FlagRule) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the predicted scores of the turns that can flag a row, and the rows of those turns."""
        scores = []
        for table in self._tables():
            n_flag = self._job.n_flag_directions
            difference_nk = table.own_nk[:, :n_flag] - prediction.predict(table)[:, :n_flag]
            scores.append(rule.score(difference_nk, table.evidence_nv))
        return np.concatenate(scores)[self._turns.counts_t], self._turns.row_t[self._turns.counts_t]

    def _score(self, state: TurnState, rule: FlagRule) -> NDArray[np.float64]:
        assert state.known is not None
        assert state.projection_k is not None
        assert state.baseline_projection_k is not None
        difference_k = (state.projection_k - state.baseline_projection_k)[: self._job.n_flag_directions]
        score_k: NDArray[np.float64] = rule.score(difference_k[None], state.known.evidence_v[None])[0]
        return score_k


def _can_flag(state: TurnState) -> bool:
    return state.turn.part == "answer" and state.turn.side in SCORED_SIDES


def _find_threshold(rule: Rule, clean: CleanTurns) -> float:
    """Return the score that a turn must pass to be flagged at all."""
    if rule.kind == "absolute":
        return rule.level
    # What is flagged at a false discovery rate q has a p-value of at most q.
    share = {"quantile": 1 - rule.level / 100, "fdr": rule.level}.get(rule.kind, UNUSUAL_SHARE)
    return clean.quantile(share)
