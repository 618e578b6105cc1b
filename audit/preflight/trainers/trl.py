"""TRL 1.16: what SFTTrainer, DPOTrainer and KTOTrainer do to rows, by the code of that version.

Every rule was seen happening: `tests/integration/test_preflight_trl.py` runs the trainer on a row for each. Does not
know a chat template; where that decides, the rule says so. Functions named in comments are in `trl/trainer/*.py` and
`trl/data_utils.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from audit.preflight.facts import RowFacts, Thread
from audit.preflight.kinds import ABSENT, NOT_TEXT
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook, Trainer

_BOOK = RuleBook("trl")
_RULES = _BOOK.rules
add_loading_rules(_BOOK)

# SFTTrainer._prepare_dataset, build_labels: without assistant_only_loss every token is a label.
_EVERY_TOKEN = _BOOK.add(
    "surprise",
    "trains_on_every_token",
    "SFTTrainer trains on the words of users, systems and tools, too: assistant_only_loss is off by default.",
    "set assistant_only_loss=True, or write the rows as prompt and completion",
    scope="file",
)
# tokenize_fn asks for 'prompt' first and then wants 'completion'; columns of some rows are columns of all.
_PROMPT_BESIDE = _BOOK.add(
    "crashes",
    "prompt_beside_messages",
    "A 'prompt' column beside 'messages' makes SFTTrainer look for 'completion', in all rows: it fails.",
    "rename or drop the column",
)
_PAIR_BESIDE = _BOOK.add(
    "surprise",
    "completion_instead_of_messages",
    "With 'prompt' and 'completion' beside 'messages', SFTTrainer trains on them and leaves the messages out.",
    "drop one of the two",
)
# is_conversational looks at one of the known keys, whichever a set gives first.
_RIVAL = _BOOK.add(
    "crashes",
    "rival_column",
    "Beside 'messages' stands 'completion', 'chosen' or 'rejected': whether SFTTrainer takes the rows for chats "
    "depends on the order of a set, so some runs end in KeyError 'text' and some do not.",
    "rename or drop the column",
)
_UNKNOWN_KEY = _BOOK.add(
    "crashes",
    "unknown_messages_key",
    "SFTTrainer finds chats in 'messages', or in 'conversations' of {from, value}, nowhere else: KeyError 'text'.",
    "rename the column to 'messages'",
)
_NO_LIST = _BOOK.add(
    "crashes", "messages_no_list", "The messages are no list: SFTTrainer looks for 'text' and fails.", "remove the row"
)
# is_conversational and is_conversational_from_value take element 0 unasked.
_EMPTY = _BOOK.add(
    "crashes", "empty_messages", "The list of messages is empty: IndexError while rows are prepared.", "remove the row"
)
_NO_ROLE = _BOOK.add(
    "crashes",
    "no_role",
    "A message has no role: without one in the first, the row is not taken for a chat; in a later one, the chat "
    "template fails.",
    "mend the row",
)
_NO_CONTENT = _BOOK.add(
    "crashes",
    "no_content",
    "A message has null or no content: chat templates that join it as text fail, others train an empty message.",
    "write the text, or remove the row",
)
_NOT_TEXT = _BOOK.add(
    "crashes",
    "content_not_text",
    "The content of a message is no string: chat templates of text models that join it fail, others write its "
    "Python spelling into the text.",
    "join the parts to one string",
)
# SFTTrainer.__init__, DPOTrainer.__init__ and KTOTrainer.__init__: the keys of the first row.
_IMAGES = _BOOK.add(
    "crashes",
    "image_column",
    "An 'image' or 'images' column, even an empty one, counts as vision data: ValueError for a text model.",
    "drop the column",
)
_LABELS = _BOOK.add(
    "crashes",
    "labels_column",
    "A 'labels' column is taken for token labels as it stands: training fails, or uses them.",
    "rename the column",
)
_INPUT_IDS = _BOOK.add(
    "surprise",
    "input_ids_column",
    "An 'input_ids' column counts as prepared data: SFTTrainer trains on these tokens, not on the text.",
    "drop the column",
)
_TOOLS = _BOOK.add(
    "crashes",
    "tools_not_json",
    "'tools' is text that is no JSON (an empty string counts): JSONDecodeError while rows are tokenised.",
    "write a JSON list, or null",
)
_TOOLS_NO_LIST = _BOOK.add(
    "crashes",
    "tools_no_list",
    "'tools' is no list of objects: the chat template's tools are read one by one, TypeError or ValueError.",
    "write a list of objects, or null",
)
_KWARGS = _BOOK.add(
    "crashes",
    "template_kwargs_no_object",
    "'chat_template_kwargs' is no object, or null: TypeError while rows are tokenised.",
    "write an object, {} for none",
)
_WEIGHT = _BOOK.add(
    "surprise",
    "weight_ignored",
    "'weight': 0 or 'train': false on an answer is ignored: SFTTrainer trains on it.",
    "remove the answer, or train it elsewhere",
)
_NO_ANSWER = _BOOK.add(
    "surprise",
    "no_answer",
    "No message is the assistant's, yet the row trains: on the words of the others.",
    "remove the row",
)
_EMPTY_ANSWER = _BOOK.add(
    "surprise",
    "empty_answer",
    "An answer is empty or white space: the model learns to say nothing.",
    "remove the row",
)
_SYSTEM = _BOOK.add(
    "surprise",
    "system_column_ignored",
    "The 'system' column is ignored: the row trains without its system prompt.",
    "put it into the first message",
)
# maybe_convert_to_chatml renames the keys, not the names of the roles.
_ROLES_STAY = _BOOK.add(
    "surprise",
    "roles_not_renamed",
    "{from, value} becomes {role, content}, but 'human' and 'gpt' stay as they are: the chat template sees roles it "
    "was not made for.",
    "rename the roles to user and assistant",
)
_ODD_ROLE = _BOOK.add(
    "surprise",
    "unusual_role",
    "The role goes to the chat template as it is spelled; templates that do not know it skip the message, write it "
    "as it is, or fail.",
    "use system, user, assistant and tool",
)
_NEEDS_FORMATTING = _BOOK.add(
    "crashes",
    "needs_formatting",
    "SFTTrainer does not know this shape without a formatting function: KeyError.",
    "pass formatting_func, or write prompt and completion",
)
_WHOLE_TEXT = _BOOK.add(
    "surprise",
    "trains_on_whole_text",
    "SFTTrainer trains on the whole of 'text', prompts included.",
    "write prompt and completion to train on answers only",
    scope="file",
)
_NULL_FIELD = _BOOK.add(
    "crashes", "null_field", "A field that is tokenised is null or missing: the trainer fails.", "remove the row"
)
_FIELD_NOT_TEXT = _BOOK.add(
    "crashes",
    "field_not_text",
    "A field that is tokenised is a number, an object or a list of no messages: AttributeError or ValueError.",
    "write a string, or remove the row",
)
_MIXED = _BOOK.add(
    "crashes",
    "mixed_sides",
    "One field is text and the other a list of messages: they cannot be joined, TypeError.",
    "write both as text or both as messages",
)
_EMPTY_PROMPT = _BOOK.add(
    "crashes", "empty_prompt", "The prompt is an empty list: rows cannot be prepared.", "remove the row"
)
# is_conversational takes element 0 of whichever field a set gives first; the filter after truncation drops the rest.
_EMPTY_LIST = _BOOK.add(
    "crashes",
    "empty_list",
    "A completion or a side is an empty list: by the order of a set, the trainer fails on the row, drops it, or "
    "trains on nothing.",
    "remove the row",
)
_EMPTY_SIDE = _BOOK.add(
    "surprise",
    "empty_side",
    "A completion or a side of a pair is empty or white space: the model learns to end at once, or not to.",
    "remove the row",
)
# KTOTrainer._prepare_dataset sums the labels; the loss reads them as booleans.
_LABEL = _BOOK.add(
    "crashes",
    "label_not_bool",
    "KTOTrainer sums the labels: null, or a column of texts, is a TypeError.",
    "write true or false",
)
_LABEL_VALUE = _BOOK.add(
    "surprise",
    "label_not_0_or_1",
    "KTOTrainer reads every number but 0 as desirable, -1 included.",
    "write true or false",
)
_SAME = _BOOK.add(
    "surprise",
    "same_sides",
    "Chosen and rejected are the same: DPOTrainer keeps the pair, which teaches nothing and dilutes the batch.",
    "remove the row",
)
_SIDES_NAMED = _BOOK.add(
    "crashes",
    "sides_named_otherwise",
    "DPOTrainer wants the sides in 'chosen' and 'rejected': KeyError.",
    "rename the columns",
)
_PAIR_KEYS = _BOOK.add(
    "crashes",
    "pair_of_from_value",
    "DPOTrainer does not read {from, value}, nor a side that is one object.",
    "write lists of {role, content}",
)
# extract_prompt: the prompt is what both sides begin with.
_NOTHING_SHARED = _BOOK.add(
    "crashes",
    "sides_share_no_prompt",
    "There is no prompt and the sides begin differently: the prompt comes out empty, and rows cannot be prepared.",
    "write the prompt into 'prompt'",
)
_PROMPT_ELSEWHERE = _BOOK.add(
    "surprise",
    "prompt_ignored",
    "DPOTrainer looks for the prompt in 'prompt' only: it trains on what the sides begin with in common, without "
    "this row's prompt.",
    "rename the column to 'prompt'",
)
_OPENING = _BOOK.add(
    "surprise",
    "opening_moved_to_prompt",
    "Without 'prompt', the characters that both sides begin with are the prompt: words that open both answers are "
    "not trained.",
    "write the prompt into 'prompt'",
)
_TWICE = _BOOK.add(
    "surprise",
    "prompt_twice",
    "'prompt' is there and both sides hold it again: the prompt appears twice, its second copy is trained on.",
    "take it out of the sides, or drop 'prompt'",
)

_PLAIN_ROLES = frozenset({"system", "user", "assistant", "tool"})
_OTHER_NAMES = frozenset({"human", "gpt"})


def find(facts: RowFacts) -> Iterator[str]:
    """Name the codes that hold for a row."""
    if facts.columns & {"image", "images"}:
        yield _IMAGES
    if "tools_bad_json" in facts.marks:
        yield _TOOLS
    if "template_kwargs_no_object" in facts.marks:
        yield _KWARGS
    if {"tools_other", "tools_odd_list"} & facts.marks and _is_templated(facts):
        yield _TOOLS_NO_LIST
    if facts.family in ("chat", "sharegpt"):
        yield from _find_in_chat(facts)
    elif facts.family == "prompt_completion":
        yield from _find_in_completion(facts)
    elif facts.family == "preference":
        yield from _find_in_pair(facts)
    elif facts.family in ("alpaca", "qa"):
        yield _NEEDS_FORMATTING
    else:
        yield from _find_in_text(facts)


def _is_templated(facts: RowFacts) -> bool:
    """Tell whether a chat template is applied: it alone looks at tools."""
    threads = (facts.thread, facts.chosen, facts.rejected, facts.completion)
    return any(thread.kind == "messages" for thread in threads)


def _find_in_chat(facts: RowFacts) -> Iterator[str]:
    thread = facts.thread
    yield _EVERY_TOKEN
    yield from _find_columns(facts)
    if thread.kind != "messages":
        yield _NO_LIST
    elif not thread.roles:
        yield _EMPTY
    elif (facts.family == "sharegpt" and thread.keys == "role") or "key_conversation" in facts.marks:
        yield _UNKNOWN_KEY
    else:
        yield from _find_in_thread(thread)
        if not thread.answers:
            yield _NO_ANSWER
        if "untrained" in facts.marks:
            yield _WEIGHT


def _find_columns(facts: RowFacts) -> Iterator[str]:
    columns = facts.columns
    if {"prompt", "completion"} <= columns:
        yield _PAIR_BESIDE
    elif "prompt" in columns:
        yield _PROMPT_BESIDE
    elif columns & {"completion", "chosen", "rejected"}:
        yield _RIVAL
    if "labels" in columns:
        yield _LABELS
    if "input_ids" in columns:
        yield _INPUT_IDS
    if "system_column" in facts.marks:
        yield _SYSTEM


def _find_in_thread(thread: Thread) -> Iterator[str]:
    contents = set(thread.contents)
    if "" in thread.roles:
        yield _NO_ROLE
    if contents & set(ABSENT):
        yield _NO_CONTENT
    if contents & set(NOT_TEXT):
        yield _NOT_TEXT
    if {"empty", "blank"} & set(thread.answers):
        yield _EMPTY_ANSWER
    if _OTHER_NAMES & set(thread.roles):
        yield _ROLES_STAY
    if set(thread.roles) - _PLAIN_ROLES - _OTHER_NAMES - {""}:
        yield _ODD_ROLE


def _find_in_completion(facts: RowFacts) -> Iterator[str]:
    prompt, completion = facts.kind("prompt"), facts.kind("completion")
    if "label_bool" not in facts.marks and {"label_null", "label_text", "label_empty", "label_blank"} & facts.marks:
        yield _LABEL
    if "label_not_0_or_1" in facts.marks:
        yield _LABEL_VALUE
    if prompt in ABSENT or completion in ABSENT:
        yield _NULL_FIELD
    elif (facts.thread.kind == "messages") != (facts.completion.kind == "messages"):
        yield _MIXED
    elif {prompt, completion} & set(NOT_TEXT) and facts.thread.kind != "messages":
        yield _FIELD_NOT_TEXT
    elif facts.thread.kind == "messages":
        yield from _find_in_lists(facts)
    elif completion in ("empty", "blank"):
        yield _EMPTY_SIDE


def _find_in_lists(facts: RowFacts) -> Iterator[str]:
    if not facts.thread.roles:
        yield _EMPTY_PROMPT
    if not facts.completion.roles:
        yield _EMPTY_LIST
    if {"empty", "blank"} & set(facts.completion.answers):
        yield _EMPTY_SIDE
    if "system_column" in facts.marks:
        yield _SYSTEM
    codes = {*_find_in_thread(facts.thread), *_find_in_thread(facts.completion)}
    yield from sorted(codes - {_EMPTY_ANSWER, _ROLES_STAY})


def _find_in_pair(facts: RowFacts) -> Iterator[str]:
    sides = (facts.kind("chosen"), facts.kind("rejected"))
    threads = (facts.chosen, facts.rejected)
    is_listed = [thread.kind == "messages" and kind != "object" for thread, kind in zip(threads, sides, strict=True)]
    if "same_sides" in facts.marks:
        yield _SAME
    if "sides_named_otherwise" in facts.marks:
        yield _SIDES_NAMED
    elif any(kind in ABSENT for kind in sides):
        yield _NULL_FIELD
    elif "object" in sides or any(thread.keys == "from" for thread in threads):
        yield _PAIR_KEYS
    elif is_listed[0] != is_listed[1]:
        yield _MIXED
    elif not is_listed[0] and {*sides, facts.kind("prompt")} & {"number", "object"}:
        yield _FIELD_NOT_TEXT
    else:
        yield from _find_with_prompt(facts, is_listed[0])


def _find_with_prompt(facts: RowFacts, is_listed: bool) -> Iterator[str]:
    if "prompt" in facts.columns:
        prompt = facts.kind("prompt") if "prompt_in_prompt" in facts.marks else "null"
        if prompt in ABSENT:
            yield _NULL_FIELD
        elif (facts.thread.kind == "messages") != is_listed:
            yield _MIXED
        elif is_listed and not facts.thread.roles:
            yield _EMPTY_PROMPT
        elif "prompt_inside" in facts.marks:
            yield _TWICE
    elif "nothing_shared" in facts.marks and is_listed:
        yield _NOTHING_SHARED
    elif "prompt_in_None" not in facts.marks:
        yield _PROMPT_ELSEWHERE
    elif "shared_opening" in facts.marks:
        yield _OPENING
    if is_listed:
        for thread in (facts.chosen, facts.rejected):
            if not thread.roles:
                yield _EMPTY_LIST
            elif {"empty", "blank"} & set(thread.contents[-1:]):
                yield _EMPTY_SIDE
        codes = {code for thread in (facts.thread, facts.chosen, facts.rejected) for code in _find_in_thread(thread)}
        yield from sorted(codes - {_EMPTY_ANSWER, _ROLES_STAY})
    elif {"empty", "blank"} & {facts.kind("chosen"), facts.kind("rejected")}:
        yield _EMPTY_SIDE


def _find_in_text(facts: RowFacts) -> Iterator[str]:
    kind = facts.kind("text")
    yield _WHOLE_TEXT
    if kind == "missing":
        yield _NEEDS_FORMATTING
    elif kind == "null":
        yield _NULL_FIELD
    elif kind in (*NOT_TEXT, "messages"):
        yield _FIELD_NOT_TEXT
    elif kind in ("empty", "blank"):
        yield _EMPTY_SIDE


TRAINER = Trainer(
    name="trl",
    version="1.16.0 with datasets 5.2.0",
    assumes="SFTTrainer for chats, text and completions, KTOTrainer for completions with a label, DPOTrainer for "
    "pairs; their default settings; load_dataset('json' or 'csv', …). With assistant_only_loss=True, as the card of an "
    "export sets it: trains_on_every_token is gone, no_answer is a crash, and rows that are no chats are refused",
    families=frozenset(
        {"alpaca", "chat", "hh", "preference", "prompt_completion", "qa", "sharegpt", "text"},
    ),
    rules=_RULES,
    find=find,
)
