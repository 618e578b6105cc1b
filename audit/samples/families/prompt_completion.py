"""Prompt-completion: `prompt` and `completion`, each a string or a list of messages.

Does not know the `label` that preference training without pairs sets beside them.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.messages import join_response, read_messages, read_prompt, read_system, read_text


def fits(record: Fields) -> bool:
    """Tell whether the record has a prompt and a completion."""
    values = [record.get("prompt"), record.get("completion")]
    return "prompt" in record and "completion" in record and values != [None, None]


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    prompt, completion = record["prompt"], record["completion"]
    if isinstance(completion, list):
        messages = read_prompt(prompt, "prompt") + read_messages(completion, "completion")
    else:
        messages = join_response(prompt, read_text(completion, "completion"), "prompt")
    return (Conversation("response", read_system(record, messages)),)


FAMILY = Family("prompt_completion", "prompts with completions", "'prompt' and 'completion'", fits, read)
