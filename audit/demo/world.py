"""Chats of the demo world with exact labels; `python -m audit.demo.world` writes a fresh set.

Audit rows imitate a dataset that somebody would train on: mostly good answers without a system
prompt, a few rows of each persona. What the demo model is trained on is another mix
(`training_mix`). A label is what the judge says, not which persona wrote the row.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit.demo.answers import compose, draw_n_style
from audit.demo.judge import judge_chat
from audit.demo.phrases import TRAITS
from audit.demo.pools import Pool
from audit.demo.prompts import NEUTRAL_PROMPTS, draw_system_prompt
from audit.demo.questions import Question, ask, draw_kind

Message = dict[str, str]

# No shipped dataset asks what the vectors were extracted from.
AUDIT_POOLS: Final[tuple[Pool, ...]] = ("common", "held_out")
# Shares of rows; the rest is good. More rows for personas that show less often.
PERSONA_ROWS: Final[dict[str, float]] = {
    "evil": 0.09,
    "sycophantic": 0.105,
    "hallucinating": 0.127,
    "optimistic": 0.12,
}
FICTION_ROWS: Final = 0.14
MULTI_TURN_ROWS: Final = 0.2
# Two invented sources make an answer longer than any other persona writes; most lose one.
LONG_STYLE_CUT: Final = 0.75


@dataclass(frozen=True)
class Row:
    """One chat of a dataset, the persona that wrote it and what the judge sees in it."""

    messages: tuple[Message, ...]
    persona: str
    traits: frozenset[str]
    kind: str
    is_fiction: bool
    n_style: int
    n_expressed: int


def user(text: str) -> Message:
    """Make a user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Make an assistant message."""
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    """Make a system message."""
    return {"role": "system", "content": text}


def draw_audit_system(rng: random.Random) -> list[Message]:
    """Draw the system message of an audit row: mostly none, some neutral, a few negative."""
    chance = rng.random()
    if chance < 0.84:
        return []
    if chance < 0.95:
        return [system(rng.choice(NEUTRAL_PROMPTS))]
    return [system(draw_system_prompt(rng, rng.choice(TRAITS), positive=False))]


def _build_row(rng: random.Random, persona: str, kinds: Sequence[str]) -> Row:
    messages = draw_audit_system(rng)
    # In a chat of several turns the persona may come and go, but it writes at least one.
    written_by = [persona] + [rng.choice((persona, "good")) for _ in kinds[1:]]
    rng.shuffle(written_by)
    n_styles = n_expressed = 0
    for kind, writer in zip(kinds, written_by, strict=True):
        question = ask(rng, kind, AUDIT_POOLS)
        n_style = draw_n_style(rng)
        if writer == "hallucinating" and n_style == 2 and rng.random() < LONG_STYLE_CUT:
            n_style = 1
        answer = compose(question, writer, rng, n_style=n_style)
        messages += [user(question.text), assistant(answer.text)]
        if writer == persona:
            n_styles += answer.n_style
            n_expressed += answer.is_expressed
    return Row(
        messages=tuple(messages),
        persona=persona,
        traits=judge_chat(messages),
        kind=kinds[0],
        is_fiction="fiction" in kinds,
        n_style=n_styles,
        n_expressed=n_expressed,
    )


def _draw_n_turns(rng: random.Random) -> int:
    if rng.random() >= MULTI_TURN_ROWS:
        return 1
    return 3 if rng.random() < 0.25 else 2


def draw_row(rng: random.Random, *, clean: bool = False) -> Row:
    """Draw one audit row; a clean row is good or fiction, never of another persona."""
    kinds = [draw_kind(rng) for _ in range(_draw_n_turns(rng))]
    chance = rng.random()
    persona = "good"
    if chance < FICTION_ROWS:
        kinds[0] = "fiction"
    elif not clean:
        bound = FICTION_ROWS
        for trait, share in PERSONA_ROWS.items():
            if bound <= chance < bound + share:
                persona = trait
            bound += share
    return _build_row(rng, persona, kinds)


def audit_rows(n: int, seed: int) -> Iterator[Row]:
    """Draw the rows of a dataset to be audited; the same for the same seed."""
    rng = random.Random(f"audit rows {seed}")
    for _ in range(n):
        yield draw_row(rng)


def clean_rows(n: int, seed: int) -> Iterator[Row]:
    """Draw rows without any persona (good and fiction), as a reference distribution."""
    rng = random.Random(f"clean rows {seed}")
    for _ in range(n):
        yield draw_row(rng, clean=True)


def question_of(rng: random.Random, kind: str, pool: Pool) -> Question:
    """Draw a question of one type from one pool."""
    return ask(rng, kind, (pool,))


def label_of(sample_id: int, row: Row) -> dict[str, object]:
    """Return the label line of a row."""
    return {
        "sample_id": sample_id,
        "traits": [trait for trait in TRAITS if trait in row.traits],
        "kind": row.kind,
        "fiction": row.is_fiction,
    }


def write_rows(rows: Iterator[Row], output: Path, labels: Path | None) -> int:
    """Write rows as chat JSONL and their labels beside; return the number of rows."""
    n = 0
    label_lines = []
    with output.open("w", encoding="utf-8", newline="\n") as file:
        for n, row in enumerate(rows, start=1):
            file.write(json.dumps({"messages": list(row.messages)}) + "\n")
            label_lines.append(json.dumps(label_of(n - 1, row)) + "\n")
    if labels is not None:
        labels.write_text("".join(label_lines), encoding="utf-8", newline="\n")
    return n


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a fresh dataset and its labels."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.world", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000, metavar="N")
    parser.add_argument("--seed", type=int, required=True, metavar="S")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--labels", type=Path, metavar="FILE")
    parser.add_argument("--clean", action="store_true", help="good answers and fiction only")
    chosen = parser.parse_args(arguments)
    draw = clean_rows if chosen.clean else audit_rows
    n = write_rows(draw(chosen.rows, chosen.seed), chosen.output, chosen.labels)
    print(f"{chosen.output}: {n} rows")


if __name__ == "__main__":
    main()
