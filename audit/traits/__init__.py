"""The traits room: what a trait is, in words, and what a judge says of an answer. Knows no model and no vector."""

from audit.traits.check import Finding, check_spec
from audit.traits.decode import SUFFIXES
from audit.traits.find import SpecFile, find_specs, resolve_spec
from audit.traits.judgement import Judge, Judgement
from audit.traits.layout import build_spec, plain_values
from audit.traits.read import read_spec
from audit.traits.spec import N_PAIRS, N_QUESTIONS, PromptPair, TraitSpec
from audit.traits.write import render_toml, write_spec

__all__ = [
    "N_PAIRS",
    "N_QUESTIONS",
    "SUFFIXES",
    "Finding",
    "Judge",
    "Judgement",
    "PromptPair",
    "SpecFile",
    "TraitSpec",
    "build_spec",
    "check_spec",
    "find_specs",
    "plain_values",
    "read_spec",
    "render_toml",
    "resolve_spec",
    "write_spec",
]
