"""LLaMA-Factory 0.9.5: what its converters and processors do to rows, by the code of that version.

They were run on crafted rows to see each effect, outside the tests (the package is not installed here); functions
named in comments are in `llamafactory/data/`. Does not know a template beyond what all of them share.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from audit.preflight.facts import RowFacts, Thread
from audit.preflight.kinds import ABSENT, NOT_TEXT
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook, Trainer

_BOOK = RuleBook("llamafactory")
_RULES = _BOOK.rules
add_loading_rules(_BOOK)

# loader.py: _load_single_dataset looks the last suffix up in FILEEXT2TYPE (extras/constants.py).
_SUFFIX = _BOOK.add(
    "crashes",
    "file_name",
    "LLaMA-Factory reads .json, .jsonl, .csv, .parquet, .arrow and .txt only (no .gz, .zst, .ndjson or .tsv): "
    "'Allowed file types'.",
    "unpack the file and name it .jsonl",
    scope="file",
    place="file",
)
# converter.py: SharegptDatasetConverter; processor/supervised.py drops a row whose prompt came out empty.
_EMPTY = _BOOK.add("drops", "no_turns", "There is no turn besides the system prompt: the row goes.", "remove the row")
_STARTS = _BOOK.add(
    "drops",
    "starts_with_answer",
    "The conversation starts with the assistant: every odd turn must be the user's or a tool's.",
    "remove the first answer, or put a user turn before it",
)
_ROLE = _BOOK.add(
    "drops",
    "role_not_tagged",
    "A turn has a role without a tag (developer, or any spelling but the tags'): the whole conversation goes.",
    "rename the role, or name its tag in dataset_info.json",
)
_SYSTEM_LATE = _BOOK.add(
    "drops",
    "system_not_first",
    "A system message stands after the first place: the whole conversation goes.",
    "move it to the front",
)
_ALTERNATE = _BOOK.add(
    "drops",
    "turns_do_not_alternate",
    "Two turns of the same side follow each other: the whole conversation goes.",
    "join them",
)
_ENDS = _BOOK.add(
    "drops",
    "ends_with_user",
    "The conversation ends with the user: an odd number of turns is dropped whole.",
    "remove the last turn",
)
_NO_LIST = _BOOK.add(
    "crashes", "messages_no_list", "The messages are null or no list: the converter fails.", "remove the row"
)
_NO_KEY = _BOOK.add(
    "crashes",
    "message_key_missing",
    "A message lacks the key of the role or of the content tag: KeyError in the converter.",
    "mend the row",
)
# formatter.py: StringFormatter.apply raises for anything but a string.
_NOT_TEXT = _BOOK.add(
    "crashes",
    "content_not_text",
    "The content of a turn is null or no string: 'Expected a string'.",
    "write a string, or remove the row",
)
# converter.py: SharegptDatasetConverter reads the two tags and nothing else of a message.
_CALLS = _BOOK.add(
    "surprise",
    "tool_calls_ignored",
    "'tool_calls' are not read: the call is neither seen nor trained.",
    "write the call as a turn of role function_call, and tag it",
)
_WEIGHT = _BOOK.add(
    "surprise",
    "weight_ignored",
    "'weight': 0 or 'train': false on an answer is ignored: LLaMA-Factory trains on it.",
    "remove the answer, or train it elsewhere",
)
_REASONING = _BOOK.add(
    "surprise",
    "reasoning_ignored",
    "'reasoning_content' and 'thinking' are not read: the answer trains without its reasoning.",
    "write it into the content, in <think> tags",
)
_EMPTY_ANSWER = _BOOK.add(
    "surprise", "empty_answer", "An answer is empty: the model learns to end at once.", "remove the row"
)
# parser.py: DatasetAttr.join: system, history and tools are None unless the entry names them.
_SYSTEM = _BOOK.add(
    "surprise",
    "system_column_ignored",
    "The 'system' column is read only if the entry in dataset_info.json names it.",
    'add "system": "system" to its columns',
)
_HISTORY = _BOOK.add(
    "surprise",
    "history_ignored",
    "'history' is read only if the entry in dataset_info.json names it; then its answers are trained, too.",
    'add "history": "history" to its columns',
)
# converter.py: AlpacaDatasetConverter; an output that is no string makes the row "unsupervised", and it is dropped.
_OUTPUT = _BOOK.add(
    "drops",
    "output_not_text",
    "The answer is null or no string: LLaMA-Factory drops the row.",
    "write a string, or remove the row",
)
_PROMPT_NOT_TEXT = _BOOK.add(
    "crashes",
    "prompt_not_text",
    "The prompt is no string (a list of messages or a number): TypeError in the Alpaca converter.",
    "write a string, or chats",
)
_LABEL = _BOOK.add(
    "drops",
    "label_not_bool",
    "The label is not true or false (a number, null, or a column of texts): the row is dropped.",
    "write true or false",
)
# processor/feedback.py: _encode_data_example takes an empty first answer for the sign of an undesired one.
_LABEL_FLIPS = _BOOK.add(
    "surprise",
    "empty_completion_flips",
    "The completion is empty: the row counts as undesirable, whatever its label.",
    "remove the row",
)
# processor/pairwise.py: a pair needs two responses; converter.py makes them of strings, or of objects.
_SIDES = _BOOK.add(
    "drops",
    "sides_not_readable",
    "The sides are null, lists of messages or of two kinds: only two strings, or two objects beside a conversation, "
    "make a pair. The row is dropped.",
    "write the answers as strings, or as one {from, value} object each",
)
_SIDE_ROLE = _BOOK.add(
    "crashes",
    "side_role",
    "A side is an object of a role without a tag: KeyError in the converter.",
    "rename the role to gpt",
)
_SIDE_BY_USER = _BOOK.add(
    "surprise",
    "side_by_user",
    "A side is a turn of the user's: it is trained as an answer.",
    "mend the row",
)
_PAIR_PROMPT = _BOOK.add(
    "drops",
    "pair_prompt_ends_with_answer",
    "The conversation before the pair does not end with the user, or does not alternate: the row is dropped.",
    "mend the row",
)
_NO_PROMPT = _BOOK.add(
    "crashes",
    "pair_without_prompt",
    "There is no column with the prompt, which the Alpaca converter reads: KeyError; where other rows have it, this "
    "one trains with an empty prompt.",
    "write the prompt into a column of its own",
)
_SAME = _BOOK.add(
    "surprise",
    "same_sides",
    "Chosen and rejected are the same: the pair is kept and teaches nothing.",
    "remove the row",
)
_EMPTY_SIDE = _BOOK.add(
    "surprise", "empty_side", "A side of the pair is empty: it is kept and trained as such.", "remove the row"
)

_SUFFIXES = frozenset({".arrow", ".csv", ".json", ".jsonl", ".parquet", ".txt"})
_TAGS = {
    "chat": (frozenset({"user", "tool"}), frozenset({"assistant", "function_call"})),
    "sharegpt": (frozenset({"human", "observation"}), frozenset({"gpt", "function_call"})),
}


def find(facts: RowFacts) -> Iterator[str]:
    """Name the codes that hold for a row."""
    if facts.family in _TAGS:
        yield from _find_in_chat(facts)
    elif facts.family == "alpaca":
        yield from _find_in_alpaca(facts, "instruction", "output")
    elif facts.family == "prompt_completion":
        yield from _find_in_completion(facts)
    elif facts.family == "preference":
        yield from _find_in_pair(facts)


def find_in_file(path: PurePath) -> Iterator[str]:
    """Name the codes that hold for a file by its name."""
    if path.suffix and path.suffix not in _SUFFIXES:
        yield _SUFFIX


def _find_in_chat(facts: RowFacts) -> Iterator[str]:
    thread = facts.thread
    if thread.kind != "messages":
        yield _NO_LIST
        return
    key = "from" if facts.family == "sharegpt" else "role"
    if thread.roles and thread.keys != key:
        yield _NO_KEY
        return
    why = find_drop(thread.roles, facts.family)
    if why:
        yield why
        return
    if "missing" in thread.contents:
        yield _NO_KEY
    yield from _find_contents(thread)
    yield from _find_ignored(facts)


def find_drop(roles: tuple[str, ...], family: str) -> str:
    """Return the code for which a conversation is dropped, none if it is kept."""
    asks, answers = _TAGS[family]
    turns = roles[1:] if roles[:1] == ("system",) else roles
    if not turns:
        return _EMPTY
    for position, role in enumerate(turns):
        if role in (asks, answers)[position % 2]:
            continue
        if role == "system":
            return _SYSTEM_LATE
        if role not in asks | answers:
            return _ROLE
        return _STARTS if position == 0 else _ALTERNATE
    return _ENDS if len(turns) % 2 else ""


def _find_contents(thread: Thread) -> Iterator[str]:
    # A null system prompt passes: it counts as none.
    start = 1 if thread.roles[:1] == ("system",) and thread.contents[0] == "null" else 0
    if set(thread.contents[start:]) & {"null", "call", "no_message", *NOT_TEXT}:
        yield _NOT_TEXT
    if {"empty", "blank"} & set(thread.answers):
        yield _EMPTY_ANSWER


def _find_ignored(facts: RowFacts) -> Iterator[str]:
    if "tool_calls" in facts.marks:
        yield _CALLS
    if "untrained" in facts.marks:
        yield _WEIGHT
    if "reasoning" in facts.marks:
        yield _REASONING
    if "system_column" in facts.marks:
        yield _SYSTEM


def _find_in_alpaca(facts: RowFacts, prompt: str, output: str) -> Iterator[str]:
    if facts.kind(prompt) in NOT_TEXT or facts.kind(prompt) == "messages" or facts.kind("input") in NOT_TEXT:
        yield _PROMPT_NOT_TEXT
        return
    if facts.kind(output) not in ("text", "blank", "empty"):
        yield _OUTPUT
        return
    if facts.kind(output) in ("blank", "empty"):
        yield _EMPTY_ANSWER
    if "system_column" in facts.marks:
        yield _SYSTEM
    if "history_column" in facts.marks:
        yield _HISTORY


def _find_in_completion(facts: RowFacts) -> Iterator[str]:
    if any(mark.startswith("label_") for mark in facts.marks):
        if "label_bool" not in facts.marks:
            yield _LABEL
            return
        if facts.kind("completion") == "empty":
            yield _LABEL_FLIPS
            return
    yield from _find_in_alpaca(facts, "prompt", "completion")


def _find_in_pair(facts: RowFacts) -> Iterator[str]:
    sides = (facts.kind("chosen"), facts.kind("rejected"))
    is_objects = sides == ("object", "object")
    if is_objects:
        yield from _find_in_objects(facts)
    elif "prompt_in_None" in facts.marks:
        yield _NO_PROMPT
        return
    elif facts.kind("prompt") in (*NOT_TEXT, "messages") and "prompt_in_prompt" in facts.marks:
        yield _PROMPT_NOT_TEXT
        return
    elif not all(kind in ("text", "blank", "empty") for kind in sides):
        yield _SIDES
        return
    if "same_sides" in facts.marks:
        yield _SAME
    last = (*facts.chosen.contents[-1:], *facts.rejected.contents[-1:])
    if {"blank", "empty"} & {*sides, *last}:
        yield _EMPTY_SIDE


def _find_in_objects(facts: RowFacts) -> Iterator[str]:
    asks, answers = _TAGS["sharegpt"]
    if facts.thread.kind == "messages" and find_drop((*facts.thread.roles, "gpt"), "sharegpt"):
        yield _PAIR_PROMPT
        return
    roles = {*facts.chosen.roles, *facts.rejected.roles}
    if roles - asks - answers - {"system"}:
        yield _SIDE_ROLE
    elif roles & asks:
        yield _SIDE_BY_USER
    if {*ABSENT, *NOT_TEXT} & {*facts.chosen.contents, *facts.rejected.contents, *facts.thread.contents}:
        yield _NOT_TEXT


TRAINER = Trainer(
    name="llamafactory",
    version="0.9.5",
    assumes='"formatting": "sharegpt" for chats, with the tags role, content, user, assistant, tool, function_call and '
    'system (as the card of an export names them), and for ShareGPT with its default tags; "alpaca" for strings; '
    "columns named in dataset_info.json; text, hh and questions with answers are not judged",
    families=frozenset({"alpaca", "chat", "preference", "prompt_completion", "sharegpt"}),
    rules=_RULES,
    find=find,
    find_in_file=find_in_file,
)
