"""Facts of a record: no words of it, no crash whatever stands in it, equal for rows of a kind."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.preflight import load_trainers
from audit.preflight.facts import read_facts
from audit.preflight.late import LateWatch
from audit.schema import FORMATS

# fmt: off
_KEYS = [
    "messages", "conversation", "conversations", "prompt", "completion", "chosen", "rejected", "label",
    "instruction", "input", "output", "history", "system", "tools", "text", "role", "content", "from", "value",
    "weight", "tool_calls", "question", "preferred_output", "non_preferred_output", "chat_template_kwargs",
    "images",
]
# fmt: on
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.sampled_from(
        ["", " ", "a", "user", "assistant", "gpt", "human", "system", "[]", "{", "\n\nHuman: a\n\nAssistant: b"]
    )
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6), st.sampled_from(FORMATS))
def test_any_record_has_facts_and_only_known_rules_hold_for_it(record: dict[str, Any], family: str) -> None:
    facts = read_facts(record, family)
    hash(facts)
    for trainer in load_trainers().values():
        assert set(trainer.find(facts)) <= set(trainer.rules)
    watch = LateWatch("messages")
    watch.find(record, 0)
    watch.find(record, 1 << 30)


def test_rows_of_a_kind_have_equal_facts_whatever_they_say() -> None:
    rows = [
        {"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": word * 3}]}
        for word in ("hello", "goodbye")
    ]
    assert read_facts(rows[0], "chat") == read_facts(rows[1], "chat")


def test_facts_hold_no_word_of_the_record() -> None:
    secret = "xyzzy"
    row = {"messages": [{"role": secret, "content": secret}, {"role": "assistant", "content": [secret]}]}
    assert secret not in repr(read_facts(row, "chat"))
