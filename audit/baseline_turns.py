"""What each turn is compared with: its baselines looked up, rendered as the turn is, and cut into tokens.

Ready answers come from a file, the model's own from the sheet; nothing is generated or scored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audit.answers import Answer, FailedAnswer
from audit.baseline import BaselineFile
from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.samples import Turn, answer_turn
from audit.samples.reasoning import split_parts
from audit.states import ScoringJob, TurnState

RANDOM_DRAW = "random"
"""The draw of the prompts from whose answers the others are predicted."""

_NO_MATCH = {
    "prompt": "no response to this prompt in the baseline file",
    "position": "no response at this position in the baseline file",
}


def find_baselines(states: Sequence[TurnState], job: ScoringJob) -> None:
    """Fill in the baselines of tokenized turns, in text and in tokens; a turn that has none gets a status and a reason.

    Of several answers to a prompt those count that can be scored.
    """
    if job.baseline in ("prompt", "none"):
        return
    if isinstance(job.baseline, BaselineFile):
        for state in states:
            ready = job.baseline.find(state.sample_id, state.ordinal, state.turn)
            state.baseline_texts = () if ready is None else (ready,)
            state.baseline_reason = _NO_MATCH[job.baseline.by]
    else:
        assert job.answers is not None
        answers = job.answers.find([state.rendered.prompt_text for state in states if state.rendered is not None])
        for state, found in zip(states, answers, strict=True):
            if found is None:
                state.is_predicted = True
                continue
            given, draw = found
            is_shared = draw == RANDOM_DRAW and job.known is not None and not job.known.is_random(state.sample_id)
            state.baseline_draw = "shared" if is_shared else draw
            state.baseline_texts = tuple(
                answer.text for answer in given if isinstance(answer, Answer) and answer.text.strip()
            )
            state.baseline_reason = _explain_lack(given[0])
    _tokenize_baselines(states, job)


def _explain_lack(answer: Answer | FailedAnswer) -> str:
    if isinstance(answer, FailedAnswer):
        return answer.reason
    return "the model's own response is empty" if answer.finished else "the prompt leaves no room for a response"


def _tokenize_baselines(states: Sequence[TurnState], job: ScoringJob) -> None:
    # Both sides of a preference, and repeated prompts, share their baselines: each is rendered and scored once.
    rendered: dict[Turn, RenderedTurn | UnscoredTurn] = {}
    pairs_of: list[tuple[TurnState, list[tuple[str, Turn]]]] = []
    for state in states:
        if state.is_predicted:
            continue
        if not state.baseline_texts:
            state.status, state.reason = "baseline_failed", state.baseline_reason
            continue
        answers = [(text, _answer_like(state.turn, text)) for text in state.baseline_texts]
        pairs = [(text, turn) for text, turn in answers if turn is not None]
        state.baseline_text = state.baseline_texts[0]
        if not pairs:
            state.status, state.reason = "baseline_failed", f"the baseline has no {state.turn.part}"
            continue
        pairs_of.append((state, pairs))
        for _, turn in pairs:
            if turn not in rendered:
                rendered[turn] = render_turn(job.model, turn)
    good = {turn: value for turn, value in rendered.items() if not isinstance(value, UnscoredTurn)}
    tokenized = dict(zip(good, tokenize_turns(job.model, list(good.values()), job.max_tokens), strict=True))
    # What could not be rendered, or not be cut to the limit, has the reason in the place of its tokens.
    outcome_of = rendered | tokenized
    for state, pairs in pairs_of:
        outcomes = [(text, turn, outcome_of[turn]) for text, turn in pairs]
        kept = [(text, turn, tokens) for text, turn, tokens in outcomes if isinstance(tokens, TokenizedTurn)]
        state.baseline_text, state.baseline, first = (kept or outcomes)[0]
        state.baseline_tokens = tuple(tokens for _, _, tokens in kept)
        if isinstance(first, UnscoredTurn):
            state.status, state.reason = "baseline_failed", f"the baseline: {first.reason}"


def _answer_like(turn: Turn, text: str) -> Turn | None:
    """Return the part of a baseline text that is compared with a turn; None where it has no such part.

    Templates treat reasoning in a field and in the content differently, so it is kept where the turn keeps its own.
    """
    answer = answer_turn(turn.prompt, text, part=turn.part, tools=turn.tools)
    if answer is None or not turn.message.reasoning.strip():
        return answer
    return replace(answer, message=split_parts(answer.message))
