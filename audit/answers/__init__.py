"""Answers to prompts as values and on disk: who gave them, the sheet of one run, the cache that runs share.

Knows no model: prompts are text, and who answers is a description that the caller makes.
"""

from audit.answers.answer import Answer, FailedAnswer, Generator, seed_of, wire_seed_of
from audit.answers.cache import AnswerCache, CacheState, Cleared, clear_cache, describe_cache, open_cache, peek_cache
from audit.answers.place import cache_limit_bytes, cache_path
from audit.answers.sheet import ALL, AnswerCounts, AnswerSheet, open_sheet

__all__ = [
    "ALL",
    "Answer",
    "AnswerCache",
    "AnswerCounts",
    "AnswerSheet",
    "CacheState",
    "Cleared",
    "FailedAnswer",
    "Generator",
    "cache_limit_bytes",
    "cache_path",
    "clear_cache",
    "describe_cache",
    "open_cache",
    "open_sheet",
    "peek_cache",
    "seed_of",
    "wire_seed_of",
]
