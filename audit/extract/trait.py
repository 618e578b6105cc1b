"""One trait from answers to a vector: ask, judge, filter, read, average, choose the layer, try it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.answers import Answer
from audit.errors import TraitError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted
from audit.extract.asking import Asker, without_system
from audit.extract.differences import DifferenceSums
from audit.extract.filtering import Yield, filter_pairs
from audit.extract.rollouts import Kind, Rollout, plan_pairs
from audit.extract.steering import SteeringPoint, measure_steering, pick_steered_layer
from audit.extract.trust import (
    CHECK_SEED,
    LEAST_ANSWERS,
    HeldOut,
    Trust,
    keep_for_check,
    measure_trust,
    pick_layer,
)
from audit.model.activations import Activations, read_activations
from audit.model.turns import TokenizedTurn
from audit.traits import Judge, Judgement, TraitSpec

READ_TURNS = 64
"""Answers whose activations stand in memory together."""

CURVE = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""Multiples of the vector in the steering curve of a report."""

CHOICE_ALPHA = 2.0
"""The multiple by which layers are compared where steering chooses."""

LOW_STABILITY = 0.8
"""A cosine of the two halves' vectors below this is said aloud."""

_Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured of one trait.

    Attributes:
        vector_ld: mean difference over the response tokens, [L + 1, d]; the persona vector.
        prompt_ld, last_prompt_ld: the same over the tokens before the response, and at the last of them.
        found: pairs of extraction questions; `held_out` those of evaluation questions.
        by_layer: what twice the vector does at every layer; `curve` what its multiples do at the chosen one.
        neutral_mean, neutral_sd: projection of neutral answers at the layer on the unit vector.
        has_sign: positive answers lie higher than negative and than neutral ones.
        check: arrays for `vectors check`.
    """

    vector_ld: _Array
    prompt_ld: _Array
    last_prompt_ld: _Array
    layer: int
    trust: Trust
    found: Yield
    held_out: Yield
    by_layer: tuple[SteeringPoint, ...]
    curve: tuple[SteeringPoint, ...]
    neutral_mean: float
    neutral_sd: float
    has_sign: bool
    check: dict[str, npt.NDArray[np.generic]]
    warnings: tuple[str, ...]


class TraitJob:
    """The steps from a specification to a measured vector."""

    def __init__(
        self,
        asker: Asker,
        spec: TraitSpec,
        judge: Judge,
        *,
        n_rollouts: int,
        n_evaluation: int,
        layer_by: str,
        has_steering: bool,
        listener: Listener,
    ) -> None:
        self._asker = asker
        self._spec = spec
        # A judge that says nothing filters nothing.
        self._judge = None if judge.name == "none" else judge
        self._n_rollouts = n_rollouts
        self._n_evaluation = n_evaluation
        self._layer_by = layer_by
        self._has_steering = has_steering
        self._listener = listener

    def run(self, neutral: Mapping[str, _Array], sheet_path: str) -> Measured:
        """Measure the vector.

        Args:
            neutral: question to the mean activation of an answer that nobody asked to be anything, [L + 1, d].
            sheet_path: where answers are kept, for messages.

        Raises:
            TraitError: too few answers survive the filter.
        """
        spec = self._spec
        pairs, kept_i, found = self._ask("extraction", self._n_rollouts)
        self._refuse_few([pair for pair, is_kept in zip(pairs, kept_i, strict=True) if is_kept], found, sheet_path)
        sums, prompt_ld, last_prompt_ld = self._read_differences(pairs, kept_i)
        held_pairs, held_i, held_found = self._ask("evaluation", self._n_evaluation)
        held_kept = [pair for pair, is_kept in zip(held_pairs, held_i, strict=True) if is_kept]
        held_out = self._read_held_out(held_kept, neutral)
        if min(*held_out.half(0).n_sides, *held_out.half(1).n_sides) < LEAST_ANSWERS:
            raise TraitError(
                spec.name,
                f"too few answers to evaluation questions survive to try the vector on: {held_found}",
                f"ask for more (--evaluation-rollouts), or for other prompts; what was answered is in {sheet_path}",
            )
        vector_ld = sums.mean_ld
        if not vector_ld[1:-1].any(axis=1).all():
            raise TraitError(
                spec.name, "both sides give the same answers: the vector is zero", "let the pairs contrast"
            )
        self._listener(StageStarted(f"{spec.name}: measuring trust", None, ""))
        trust = measure_trust(vector_ld, sums.half_cosine_l, sums.shuffled_bld, held_out, seed=CHECK_SEED)
        self._listener(StageFinished(f"{spec.name}: measuring trust"))
        layer, by_layer, curve = self._choose_layer(vector_ld, trust)
        unit_d = vector_ld[layer].astype(np.float64) / np.linalg.norm(vector_ld[layer].astype(np.float64))
        neutral_n = np.array([state_ld[layer] @ unit_d for state_ld in neutral.values()])
        score_n = held_out.state_nld[:, layer] @ unit_d
        positive_mean = float(score_n[held_out.is_positive_n].mean())
        negative_mean = float(score_n[~held_out.is_positive_n].mean())
        return Measured(
            vector_ld=vector_ld,
            prompt_ld=prompt_ld,
            last_prompt_ld=last_prompt_ld,
            layer=layer,
            trust=trust,
            found=found,
            held_out=held_found,
            by_layer=by_layer,
            curve=curve,
            neutral_mean=float(neutral_n.mean()),
            neutral_sd=float(neutral_n.std(ddof=1)) if len(neutral_n) > 1 else float("nan"),
            has_sign=positive_mean > max(negative_mean, 0.0),
            check=keep_for_check(held_out, sums.shuffled_bld, layer),
            warnings=self._warn(trust, layer, found),
        )

    def _ask(self, kind: Kind, n_rollouts: int) -> tuple[list[_Pair], npt.NDArray[np.bool_], Yield]:
        spec = self._spec
        planned = plan_pairs(spec, kind, n_rollouts)
        # Both sides together: the fewer batches there are, the less is waited for a batch's last answer.
        rollouts = [pair[side] for side in (0, 1) for pair in planned]
        answers = self._asker.answer(f"{spec.name}: answering {kind} questions", rollouts)
        judged: list[Sequence[Judgement] | None] = [None, None]
        if self._judge is not None:
            stage = f"{spec.name}: judging {kind} questions"
            found = self._asker.judge(stage, self._judge, spec, rollouts, answers)
            judged = [found[: len(planned)], found[len(planned) :]]
        answered = list(zip(rollouts, answers, strict=True))
        pairs = list(zip(answered[: len(planned)], answered[len(planned) :], strict=True))
        answered_i = np.array([all(answer.text.strip() for _, answer in pair) for pair in pairs], dtype=bool)
        kept_i, found_yield = filter_pairs(answered_i, *judged)
        return pairs, kept_i, found_yield

    def _refuse_few(self, kept: Sequence[_Pair], found: Yield, sheet_path: str) -> None:
        n_questions = len({pair[0][0].question for pair in kept})
        if n_questions >= 2:
            return
        finding = f"no pair of answers survives the filter: {found}"
        if kept:
            finding = f"only pairs of one question survive the filter: {found}"
        if found.n_answered == 0:
            finding = f"the model answered nothing to any of {found.n_pairs} pairs of prompts"
            cure = "look at the chat template and at --max-new-tokens"
        elif self._judge is not None and found.n_judged == 0:
            cure = f"no answer of the judge ({self._judge.name}) can be read as a number; try another judge"
        elif found.n_shown == 0 or found.n_absent == 0:
            missing = (
                "shows the trait under a positive prompt" if found.n_shown == 0 else "lacks it under a negative one"
            )
            cure = f"no answer {missing}: use stronger prompts (traits check), a better judge, or more --rollouts"
        else:
            cure = "use prompts that contrast more, a better judge, or more --rollouts"
        raise TraitError(self._spec.name, finding, f"{cure}; what was answered is in {sheet_path}")

    def _read_differences(
        self, pairs: Sequence[_Pair], kept_i: npt.NDArray[np.bool_]
    ) -> tuple[DifferenceSums, _Array, _Array]:
        model = self._asker.model
        sums = DifferenceSums(model.n_layers + 1, model.d_hidden, seed=CHECK_SEED)
        prompt_ld = np.zeros((model.n_layers + 1, model.d_hidden))
        last_prompt_ld, n = prompt_ld.copy(), 0
        kept = [pair for pair, is_kept in zip(pairs, kept_i, strict=True) if is_kept]
        stage = f"{self._spec.name}: reading activations"
        self._listener(StageStarted(stage, 2 * len(kept), "answers"))
        for start in range(0, len(kept), READ_TURNS // 2):
            block = kept[start : start + READ_TURNS // 2]
            positive, negative, own = self._read_pairs(block)
            if own.any():
                question_i = np.array([pair[0][0].question for pair in block])[own]
                sums.add(positive.response_nld[own] - negative.response_nld[own], question_i)
                prompt_ld += (positive.prompt_nld[own] - negative.prompt_nld[own]).sum(axis=0, dtype=np.float64)
                last_ild = positive.last_prompt_nld[own] - negative.last_prompt_nld[own]
                last_prompt_ld += last_ild.sum(axis=0, dtype=np.float64)
                n += int(own.sum())
            self._listener(StageAdvanced(stage, 2 * len(block)))
        self._listener(StageFinished(stage))
        if not sums.n_2.all():
            raise TraitError(
                self._spec.name,
                "no kept answers to even questions, or none to odd ones: nothing shows whether the vector is stable",
                "ask more questions or for more --rollouts",
            )
        return sums, (prompt_ld / n).astype(np.float32), (last_prompt_ld / n).astype(np.float32)

    def _read_pairs(self, block: Sequence[_Pair]) -> tuple[Activations, Activations, npt.NDArray[np.bool_]]:
        """Read both sides; the mask leaves out pairs whose answer is not found in its rendering, or is not finite."""
        model, batch_tokens = self._asker.model, self._asker.sampling.batch_tokens
        sides = [[pair[side] for pair in block] for side in (0, 1)]
        tokenized = [self._asker.tokenize(*zip(*side, strict=True)) for side in sides]
        has_both = np.array([None not in both for both in zip(*tokenized, strict=True)], dtype=bool)
        shape = (len(block), model.n_layers + 1, model.d_hidden)
        found = []
        for side in tokenized:
            whole = Activations(*(np.zeros(shape, dtype=np.float32) for _ in range(3)))
            turns = [turn for turn, has in zip(side, has_both, strict=True) if has and turn is not None]
            read = read_activations(model, turns, batch_tokens=batch_tokens)
            whole.response_nld[has_both] = read.response_nld
            whole.prompt_nld[has_both] = read.prompt_nld
            whole.last_prompt_nld[has_both] = read.last_prompt_nld
            has_both = has_both & np.isfinite(whole.response_nld).all(axis=(1, 2))
            found.append(whole)
        return found[0], found[1], has_both

    def _read_held_out(self, kept: Sequence[_Pair], neutral: Mapping[str, _Array]) -> HeldOut:
        answered = [own for pair in kept for own in pair if own[0].text in neutral]
        plain = without_system([rollout for rollout, _ in answered])
        stage = f"{self._spec.name}: reading evaluation answers"
        state_nld, own_n = read_states(self._asker, stage, plain, [answer for _, answer in answered], self._listener)
        rollouts = [rollout for (rollout, _), is_read in zip(answered, own_n, strict=True) if is_read]
        for place, rollout in enumerate(rollouts):
            state_nld[place] -= neutral[rollout.text]
        return HeldOut(
            state_nld,
            np.array([rollout.side == "positive" for rollout in rollouts], dtype=bool),
            np.array([rollout.question for rollout in rollouts], dtype=np.int64),
        )

    def _choose_layer(
        self, vector_ld: _Array, trust: Trust
    ) -> tuple[int, tuple[SteeringPoint, ...], tuple[SteeringPoint, ...]]:
        """Return the scoring layer, what steering does at every layer, and what multiples do at the chosen one."""
        spec, n_layers = self._spec, len(vector_ld) - 1
        questions = [
            Rollout("neutral", "evaluation", 0, place, draw, "", text)
            for place, text in enumerate(spec.evaluation_questions)
            for draw in range(self._n_evaluation)
        ]
        # As for separation: even questions choose, odd ones are reported.
        even, odd = ([own for own in questions if own.question % 2 == parity] for parity in (0, 1))
        layer = pick_layer(trust.choice_auc_l, trust.choice_auc_lb)
        by_layer: list[SteeringPoint] = []
        if self._judge is not None and self._has_steering:
            points = [(own, CHOICE_ALPHA) for own in range(1, n_layers)]
            by_layer = measure_steering(self._asker, self._judge, spec, vector_ld, points, even)
            if self._layer_by == "steering":
                layer = pick_steered_layer(by_layer) or layer
        if layer is None:
            raise TraitError(spec.name, "no layer separates anything", "ask for more --evaluation-rollouts")
        curve: list[SteeringPoint] = []
        if self._judge is not None and self._has_steering:
            points = [(layer, alpha) for alpha in CURVE]
            curve = measure_steering(self._asker, self._judge, spec, vector_ld, points, odd)
        return layer, tuple(by_layer), tuple(curve)

    def _warn(self, trust: Trust, layer: int, found: Yield) -> tuple[str, ...]:
        warnings, name = [], self._spec.name
        separation = trust.layers[layer]
        if not separation.is_above_chance:
            warnings.append(
                f"{name}: at layer {layer} the vector separates answers no better than chance does "
                f"(AUC {separation.auc:.2f}, {separation.low:.2f} to {separation.high:.2f}; null band up to "
                f"{separation.null_band:.2f}): `vectors check` will fail"
            )
        if not trust.half_cosine_l[layer] >= LOW_STABILITY:
            warnings.append(
                f"{name}: vectors of two halves of the questions have a cosine of only "
                f"{trust.half_cosine_l[layer]:.2f}; more --rollouts or better prompts would steady it"
            )
        n_void = found.n_pairs - found.n_judged
        if n_void > 0.1 * found.n_pairs:
            warnings.append(f"{name}: for {n_void} of {found.n_pairs} pairs the judge's word is void")
        if found.n_kept < found.n_pairs // 4:
            warnings.append(f"{name}: most pairs fell to the filter: {found}")
        return tuple(warnings)


_Answered = tuple[Rollout, Answer]
_Pair = tuple[_Answered, _Answered]


def read_states(
    asker: Asker, stage: str, rollouts: Sequence[Rollout], answers: Sequence[Answer], listener: Listener
) -> tuple[_Array, npt.NDArray[np.bool_]]:
    """Return the mean activations over answers, [*, L + 1, d], and which of the answers they are of."""
    turns = asker.tokenize(rollouts, answers)
    own_n = np.array([turn is not None for turn in turns], dtype=bool)
    read: list[TokenizedTurn] = [turn for turn in turns if turn is not None]
    listener(StageStarted(stage, len(read), "answers"))
    blocks = []
    for start in range(0, len(read), READ_TURNS):
        block = read[start : start + READ_TURNS]
        blocks.append(read_activations(asker.model, block, batch_tokens=asker.sampling.batch_tokens).response_nld)
        listener(StageAdvanced(stage, len(block)))
    listener(StageFinished(stage))
    empty = np.zeros((0, asker.model.n_layers + 1, asker.model.d_hidden), dtype=np.float32)
    state_nld = np.concatenate(blocks) if blocks else empty
    finite_n = np.isfinite(state_nld).all(axis=(1, 2))
    own_n[np.flatnonzero(own_n)[~finite_n]] = False
    return state_nld[finite_n], own_n
