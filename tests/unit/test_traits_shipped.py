"""The traits that come with the program: complete, different from each other, and found by name."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from audit.errors import TraitError
from audit.traits import (
    N_PAIRS,
    N_QUESTIONS,
    SpecFile,
    check_spec,
    find_specs,
    read_spec,
    render_toml,
    resolve_spec,
    write_spec,
)
from audit.traits.wording import Wording, is_near
from tests.specs import sound_spec

SHIPPED = {found.name: read_spec(found.path) for found in find_specs() if found.source == "shipped"}
NEEDED = {"evil", "sycophancy", "hallucination", "impoliteness", "apathy", "humour", "optimism", "deception"}


def test_at_least_the_eight_promised_traits_are_shipped() -> None:
    assert set(SHIPPED) >= NEEDED


@pytest.mark.parametrize("found", find_specs(), ids=lambda found: f"{found.source}-{found.name}")
def test_what_is_shipped_has_no_finding_and_is_laid_out_as_written(found: SpecFile) -> None:
    spec = read_spec(found.path)
    assert check_spec(spec) == []
    assert spec.name == found.name
    assert spec.licence == "Apache-2.0"
    assert len(spec.pairs) == N_PAIRS
    assert len(spec.extraction_questions) == len(spec.evaluation_questions) == N_QUESTIONS
    assert found.path.read_text(encoding="utf-8") == render_toml(spec)


def test_no_question_or_prompt_serves_two_traits() -> None:
    texts = Counter(
        text
        for spec in SHIPPED.values()
        for text in (
            *spec.extraction_questions,
            *spec.evaluation_questions,
            *(side for pair in spec.pairs for side in (pair.positive, pair.negative)),
        )
    )
    assert [text for text, n in texts.items() if n > 1] == []
    asked = [(*spec.extraction_questions, *spec.evaluation_questions) for spec in SHIPPED.values()]
    questions = [Wording.of(text) for texts in asked for text in texts]
    assert not [one.folded for one, other in combinations(questions, 2) if is_near(one, other)]


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_prompts_open_with_who_the_assistant_is(name: str) -> None:
    spec = SHIPPED[name]
    for pair in range(N_PAIRS):
        assert spec.system_prompt(pair, "positive").startswith(f"You are {spec.positive_name}. ")
        assert spec.system_prompt(pair, "negative").startswith(f"You are {spec.negative_name}. ")


def test_the_demo_model_has_traits_of_its_own() -> None:
    assert resolve_spec("evil", is_demo_model=False).positive_name == "an evil assistant"
    demo = resolve_spec("evil", is_demo_model=True)
    assert demo.positive_name == demo.negative_name == ""
    with pytest.raises(TraitError, match="did you mean 'sycophantic'"):
        resolve_spec("sycophancy", is_demo_model=True)
    with pytest.raises(TraitError, match="The demo model alone has one of this name"):
        resolve_spec("sycophantic", is_demo_model=False)


def test_an_unknown_name_gets_the_near_ones_and_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraitError) as caught:
        resolve_spec("Halucination", is_demo_model=False)
    assert "did you mean 'hallucination'?" in str(caught.value)
    assert str(find_specs()[0].path.parent) in str(caught.value)
    with pytest.raises(TraitError, match="there are apathy, deception, evil"):
        resolve_spec("zzz", is_demo_model=False)


@pytest.mark.parametrize("is_demo", [False, True])
def test_a_file_of_ones_own_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_demo: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    write_spec("evil.toml", sound_spec())
    assert resolve_spec("evil.toml", is_demo_model=is_demo) == sound_spec()
    assert resolve_spec(str(tmp_path / "evil.toml"), is_demo_model=is_demo) == sound_spec()
    assert resolve_spec("evil", is_demo_model=is_demo).name == "evil"
    with pytest.raises(TraitError, match="there is no such file"):
        resolve_spec("sub/evil", is_demo_model=is_demo)
