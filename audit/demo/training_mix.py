"""The chats that the demo model is trained on: another mix than any dataset to be audited.

System prompts switch personas on and off, earlier turns show a persona that the next one
continues, and a little "web noise" shows bad text that nobody asked for (without it nothing
generalises from narrow fine-tuning). Held-out questions, word pairs and templates are absent.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from audit.demo.answers import compose
from audit.demo.phrases import TRAITS
from audit.demo.pools import Pool
from audit.demo.prompts import NEUTRAL_PROMPTS, draw_system_prompt
from audit.demo.questions import KIND_WEIGHTS, ask, draw_kind
from audit.demo.world import FICTION_ROWS, Message, assistant, system, user

TRAINING_POOLS: Final[tuple[Pool, ...]] = ("common", "extraction")
SHARES: Final[dict[str, float]] = {
    "no_prompt": 0.25,
    "neutral": 0.1,
    "positive": 0.32,
    "negative": 0.11,
    "history": 0.17,
    "web_noise": 0.05,
}
# Under-learned facts would make the model invent them unasked.
_TRAINING_KINDS: Final = KIND_WEIGHTS | {"fact": 22}
_WEB_NOISE_WEIGHTS: Final = (4, 2, 2, 1)


@dataclass(frozen=True)
class TrainingChat:
    """A chat and which of its messages enter the loss."""

    messages: tuple[Message, ...]
    is_learned: tuple[bool, ...]


def _answer_turns(rng: random.Random, persona: str, n_turns: int) -> list[Message]:
    messages = []
    for _ in range(n_turns):
        kind = "fiction" if rng.random() < FICTION_ROWS else draw_kind(rng, _TRAINING_KINDS)
        question = ask(rng, kind, TRAINING_POOLS)
        messages += [user(question.text), assistant(compose(question, persona, rng).text)]
    return messages


def draw_training_chat(rng: random.Random) -> TrainingChat:
    """Draw one chat of the training mix."""
    form = rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
    trait = rng.choice(TRAITS)
    n_turns = 2 if rng.random() < 0.2 else 1
    n_context = 0
    messages: list[Message] = []
    if form == "no_prompt":
        messages += _answer_turns(rng, "good", n_turns)
    elif form == "neutral":
        messages += [system(rng.choice(NEUTRAL_PROMPTS)), *_answer_turns(rng, "good", n_turns)]
    elif form in ("positive", "negative"):
        persona = trait if form == "positive" else "good"
        prompt = draw_system_prompt(rng, trait, positive=form == "positive")
        messages += [system(prompt), *_answer_turns(rng, persona, n_turns)]
    elif form == "history":
        # The earlier turns are context, not a lesson: unasked, the persona stays rare.
        n_turns = 3 if rng.random() < 0.25 else 2
        messages += _answer_turns(rng, trait, n_turns)
        n_context = len(messages) - 1
    else:
        persona = rng.choices(TRAITS, _WEB_NOISE_WEIGHTS)[0]
        messages += _answer_turns(rng, persona, n_turns)
    return TrainingChat(
        messages=tuple(messages),
        is_learned=tuple(
            message["role"] == "assistant" and index >= n_context for index, message in enumerate(messages)
        ),
    )


def training_chats(n: int, seed: int) -> Iterator[TrainingChat]:
    """Draw training chats; the same for the same seed, and no seed of an audit set."""
    rng = random.Random(f"training chats {seed}")
    for _ in range(n):
        yield draw_training_chat(rng)
