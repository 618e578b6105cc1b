"""Reasoning and answer of an assistant message, wherever a dataset keeps the reasoning.

It stands in a field of its own, or in the content before the answer: `<think>…</think>`, the opening tag missing where
a template had already written it. A block that never closes is reasoning without an answer.
"""

from __future__ import annotations

from dataclasses import replace

from audit.samples.sample import Message

OPENING, CLOSING = "<think>", "</think>"


def read_parts(message: Message) -> dict[str, str]:
    """Return the texts of an assistant message by part; `answer` is always there, perhaps empty."""
    texts = {part: message.content[start:stop] for part, (start, stop) in _find_spans(message).items()}
    return {"reasoning": message.reasoning, "answer": texts["answer"]} if message.reasoning.strip() else texts


def replace_part(message: Message, part: str, text: str) -> Message:
    """Return the message with another text in place of one of its parts."""
    span = _find_spans(message).get(part)
    content = message.content
    is_apart = part == "reasoning" and message.reasoning.strip()
    if span is not None:
        before, own, after = content[: span[0]], content[slice(*span)], content[span[1] :]
        # A block that repeats what is kept apart keeps its own white space around it.
        content = before + (own.replace(own.strip(), text.strip()) if is_apart else text) + after
    return replace(message, content=content, reasoning=text if is_apart else message.reasoning)


def _find_spans(message: Message) -> dict[str, tuple[int, int]]:
    """Return where the parts stand in the content; a block before the answer may repeat what is kept apart."""
    spans = _find_parts(message.content)
    if message.reasoning.strip():
        start, stop = spans.get("reasoning", (0, 0))
        is_repeated = CLOSING in message.content and message.content[start:stop].strip() == message.reasoning.strip()
        if not is_repeated:
            return {"answer": (0, len(message.content))}
    return spans


def join_parts(message: Message) -> str:
    """Return the message as a model writes it: reasoning kept apart goes into a block before the answer."""
    if not message.reasoning.strip():
        return message.content
    return f"{OPENING}\n{message.reasoning.strip()}\n{CLOSING}\n\n{read_parts(message)['answer']}"


def split_parts(message: Message) -> Message:
    """Return the message with reasoning that stands in its content kept apart: what `join_parts` undoes."""
    parts = read_parts(message)
    if message.reasoning.strip() or "reasoning" not in parts:
        return message
    return replace(message, content=parts["answer"], reasoning=parts["reasoning"].strip())


def _find_parts(content: str) -> dict[str, tuple[int, int]]:
    whole = {"answer": (0, len(content))}
    if CLOSING not in content:
        return _open_ended(content) or whole
    opened = content.lstrip().startswith(OPENING)
    if not opened and (OPENING in content or content.count(CLOSING) > 1):
        return whole  # a text that speaks of the tags
    start = content.index(OPENING) + len(OPENING) if opened else 0
    stop = content.index(CLOSING, start)
    # White space between the block and the answer is the block's: templates write it, or trim it.
    rest = content[stop + len(CLOSING) :]
    answer = (len(content) - len(rest.lstrip()), len(content)) if rest.strip() else (len(content), len(content))
    if not content[start:stop].strip():
        return {"answer": answer}
    return {"reasoning": (start, stop), "answer": answer}


def _open_ended(content: str) -> dict[str, tuple[int, int]] | None:
    if not content.lstrip().startswith(OPENING):
        return None
    start = content.index(OPENING) + len(OPENING)
    answer = (len(content), len(content))
    return {"reasoning": (start, len(content)), "answer": answer} if content[start:].strip() else {"answer": answer}
