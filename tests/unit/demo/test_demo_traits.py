"""The demo world's specifications: what the generator makes, in the words that the demo model was trained on."""

import random
import re
from pathlib import Path

import pytest

from audit.assets import demo_traits_dir
from audit.demo.phrases import TRAITS
from audit.demo.pools import is_held_out
from audit.demo.prompts import ADJECTIVES, NEGATIVE, POSITIVE, VERB_PHRASES, draw_system_prompt
from audit.demo.questions import KIND_WEIGHTS, ask
from audit.demo.write_traits import build_demo_spec, main
from audit.traits import PromptPair, TraitSpec, read_spec

SPECS = {trait: read_spec(demo_traits_dir() / f"{trait}.toml") for trait in TRAITS}


def test_the_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    main(["--output", str(tmp_path)])
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in demo_traits_dir().iterdir()}
    assert sorted(made) == sorted(f"{trait}.toml" for trait in TRAITS)
    assert build_demo_spec("evil", seed=1) != SPECS["evil"]


@pytest.mark.parametrize("trait", TRAITS)
def test_every_prompt_is_one_that_training_draws(trait: str) -> None:
    rng = random.Random(1)
    for side, is_positive in (("positive", True), ("negative", False)):
        drawn = {draw_system_prompt(rng, trait, positive=is_positive) for _ in range(30_000)}
        assert {getattr(pair, side) for pair in SPECS[trait].pairs} <= drawn


def words_of(pair: PromptPair, trait: str) -> tuple[set[str], set[str]]:
    """Return the adjectives and verb phrases that stand in a positive prompt."""
    adjectives, verbs = (
        {word for word in known[trait] if re.search(rf"\b{word}\b", pair.positive)}
        for known in (ADJECTIVES, VERB_PHRASES)
    )
    return adjectives, verbs


@pytest.mark.parametrize("trait", TRAITS)
def test_both_sides_of_a_pair_are_about_the_same_and_no_two_pairs_are(trait: str) -> None:
    pairs = SPECS[trait].pairs
    adjectives, verbs = zip(*(words_of(pair, trait) for pair in pairs), strict=True)
    assert all(len(words) == 1 for words in (*adjectives, *verbs))
    assert len(set.union(*adjectives)) == len(set.union(*verbs)) == len(pairs)
    for pair, (adjective,), (verb,) in zip(pairs, adjectives, verbs, strict=True):
        assert adjective in pair.negative or verb in pair.negative
        assert not is_held_out("pair", adjective, verb)
    assert len(POSITIVE) > len(pairs) <= len(NEGATIVE)


@pytest.fixture(scope="module")
def drawn() -> dict[str, set[str]]:
    """Questions of the extraction pool, by type; the towns of facts are without end."""
    rng = random.Random(2)
    kinds = [kind for kind in KIND_WEIGHTS if kind != "fact"]
    return {kind: {ask(rng, kind, ("extraction",)).text for _ in range(2_000)} for kind in kinds}


@pytest.mark.parametrize("trait", TRAITS)
def test_questions_are_of_the_extraction_pool_and_of_every_type(trait: str, drawn: dict[str, set[str]]) -> None:
    spec: TraitSpec = SPECS[trait]
    for questions in (spec.extraction_questions, spec.evaluation_questions):
        n_by_kind = {kind: sum(question in texts for question in questions) for kind, texts in drawn.items()}
        assert n_by_kind == dict.fromkeys(drawn, 2)
    assert not set(spec.extraction_questions) & set(spec.evaluation_questions)
