"""Whatever a specification says, a file says the same: in our TOML, and in YAML that another program wrote."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import TraitError
from audit.traits import PromptPair, TraitSpec, build_spec, check_spec, plain_values, read_spec, write_spec

# What TOML and YAML treat specially, and what a careless writer would lose.
PIECES = [
    '"',
    "'",
    '"""',
    "'''",
    "\\",
    "\\n",
    "\n",
    "\t",
    " ",
    "  ",
    "#",
    ": ",
    "- ",
    "{name}",
    "\u2028",
    "\u00a0",
    "é",
]
PIECES += ["\u0301", "😀", "no", "~", "0", "&a", "*a", "!!str", "|", "[", "=", "a" * 130, "word " * 30]

text = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=4), max_size=8
)
texts = text.map(lambda parts: "".join(parts).strip()).filter(lambda text: not _is_unseen(text))
lines = texts.map(lambda text: " ".join(text.split()))
specs = st.builds(
    TraitSpec,
    name=st.from_regex(r"[a-z][a-z0-9_]{8}", fullmatch=True),
    description=lines,
    pairs=st.lists(st.builds(PromptPair, texts, texts), max_size=3).map(tuple),
    extraction_questions=st.lists(texts, max_size=3).map(tuple),
    evaluation_questions=st.lists(texts, max_size=3).map(tuple),
    rubric=texts,
    positive_name=lines,
    negative_name=lines,
    opening=lines,
    language=st.sampled_from(["en", "de", "pt-BR", "zh-Hans"]),
    licence=lines,
)
IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def _is_unseen(text: str) -> bool:
    return any(char == "\ufeff" or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in text)


@IN_A_FOLDER
@given(spec=specs)
def test_a_written_specification_reads_back_equal(tmp_path: Path, spec: TraitSpec) -> None:
    assert write_spec(tmp_path / "x.toml", spec, overwrite=True) == spec
    assert read_spec(tmp_path / "x.toml") == spec
    assert read_spec(tmp_path / "x.toml").digest == spec.digest


@IN_A_FOLDER
@given(spec=specs)
def test_yaml_of_another_program_reads_equal(tmp_path: Path, spec: TraitSpec) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(plain_values(spec), allow_unicode=True), encoding="utf-8")
    assert read_spec(tmp_path / "x.yaml") == spec


@IN_A_FOLDER
@given(spec=specs, around=st.sampled_from([" ", "\n", "\r\n", "\t \n"]))
def test_white_space_around_a_text_is_no_part_of_it(tmp_path: Path, spec: TraitSpec, around: str) -> None:
    questions = tuple(question + around for question in spec.extraction_questions)
    padded = dataclasses.replace(spec, rubric=around + spec.rubric + around, extraction_questions=questions)
    assert write_spec(tmp_path / "x.toml", padded, overwrite=True) == spec == read_spec(tmp_path / "x.toml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "pairs", "questions", "positive", "extraction", "rubric", "x"]), inner
        )
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=80)
@given(values=json_values, whole=specs, key=st.sampled_from(["name", "pairs", "assistant", "questions", "rubric"]))
def test_no_value_makes_reading_or_checking_fail_otherwise_than_with_a_reason(
    values: object, whole: TraitSpec, key: str
) -> None:
    for candidate in (values, plain_values(whole) | {key: values}):
        with contextlib.suppress(TraitError):
            check_spec(build_spec(candidate, "somewhere"))


@IN_A_FOLDER
@given(content=st.binary(max_size=60) | st.text("a:-[]{}&*!|>'\"#% \n\t?,=.", max_size=40).map(str.encode))
def test_no_bytes_make_reading_fail_otherwise_than_with_a_reason(tmp_path: Path, content: bytes) -> None:
    for name in ("x.toml", "x.yaml"):
        (tmp_path / name).write_bytes(content)
        with contextlib.suppress(TraitError):
            read_spec(tmp_path / name)
