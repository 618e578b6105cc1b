"""Axolotl 0.19.0: what its prompt strategies do to rows, by the code of that version.

Its strategies were run on crafted rows to see each effect, outside the tests (the package is not installed here);
functions named in comments are in `axolotl/`. Does not know a chat template; where that decides, the rule says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from audit.preflight.facts import ASSISTANT_ROLES, RowFacts, Thread
from audit.preflight.kinds import ABSENT, NOT_TEXT
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook, Trainer

_BOOK = RuleBook("axolotl")
_RULES = _BOOK.rules
add_loading_rules(_BOOK)

# prompt_strategies/chat_template.py: ChatTemplateStrategy._get_messages, is_prompt_batched.
_NO_LIST = _BOOK.add(
    "crashes",
    "messages_no_list",
    "The messages are null or no list (a string is read as JSON): the strategy fails on the whole batch.",
    "remove the row",
)
# ChatTemplateStrategy.get_conversation_thread takes messages[0] unasked.
_EMPTY = _BOOK.add(
    "crashes", "empty_messages", "The list of messages is empty: IndexError in the strategy.", "remove the row"
)
# ChatTemplatePrompter.transform_message leaves the key out; the turn is then read by 'role'.
_NO_ROLE = _BOOK.add("crashes", "no_role", "A message has no role: KeyError in the strategy.", "mend the row")
_NO_MESSAGE = _BOOK.add(
    "crashes", "no_message", "An entry of the messages is no object: the strategy cannot read it.", "mend the row"
)
# transform_message leaves null out; the template then meets a message without content.
_NO_CONTENT = _BOOK.add(
    "crashes",
    "no_content",
    "A message has null or no content: chat templates that join it as text fail, others write an empty message.",
    "write the text, or remove the row",
)
_NUMBER = _BOOK.add(
    "crashes",
    "content_not_text",
    "The content is a number or an object: chat templates that join it as text fail, others write its Python spelling.",
    "write a string",
)
# ChatTemplateStrategy._convert_content_parts keeps 'text', 'content' or 'value' of objects only.
_MEDIA = _BOOK.add(
    "surprise",
    "media_removed",
    "Parts that are no text (images, audio) are left out without a word; the row trains on the rest.",
    "remove the row, or train a vision model with a processor",
)
_STRINGS = _BOOK.add(
    "surprise",
    "strings_removed",
    "The content is a list of strings: only parts that are objects are kept, the message becomes empty.",
    "join the strings",
)
# ChatTemplateStrategy._tokenize_single_prompt: message_field_training is unset by default.
_WEIGHT = _BOOK.add(
    "surprise",
    "weight_ignored",
    "'weight': 0 or 'train': false on an answer is ignored by default: Axolotl trains on it.",
    "set message_field_training to the key, with true and false in it",
)
# utils/trainer.py: drop_no_trainable_tokens.
_NO_TOKENS = _BOOK.add(
    "drops",
    "nothing_to_train",
    "No answer has a token to train: no message is the assistant's by the default roles (assistant, gpt), or all "
    "answers are empty. Axolotl drops the row.",
    "remove the row, or map the roles with 'roles'",
)
# roles_to_train defaults to assistant; unmapped roles pass as they are.
_NOT_TRAINED = _BOOK.add(
    "surprise",
    "answer_not_trained",
    "An answer has a role that is not mapped to assistant (bot, chatgpt, model): it stands in the text and is not "
    "trained.",
    "map the role with 'roles'",
)
_ODD_ROLE = _BOOK.add(
    "surprise",
    "unusual_role",
    "The role is not mapped and goes to the chat template as it is spelled; templates that do not know it skip the "
    "message, write it as it is, or fail.",
    "map the role with 'roles'",
)
_EMPTY_ANSWER = _BOOK.add(
    "surprise",
    "empty_answer",
    "One of several answers is empty: it stands in the text and is not trained, not even its end.",
    "remove the row",
)
# ChatTemplateStrategy._get_tools.
_TOOLS = _BOOK.add(
    "crashes",
    "tools_not_json",
    "'tools' is text that is no JSON (an empty string counts): JSONDecodeError.",
    "write a JSON list, or null",
)
_TOOLS_NO_LIST = _BOOK.add(
    "crashes", "tools_no_list", "'tools' is neither a list nor null: ValueError.", "write a list"
)
# prompt_tokenizers.py: InstructionPromptTokenizingStrategy.tokenize_prompt, _tokenize.
_NO_OUTPUT = _BOOK.add(
    "drops",
    "empty_output",
    "The output is null or empty: nothing to train, Axolotl drops the row.",
    "remove the row",
)
_OUTPUT_NOT_TEXT = _BOOK.add(
    "crashes", "output_not_text", "The output is no string: the tokenizer fails.", "write a string"
)
# prompters.py: AlpacaPrompter formats whatever stands there.
_NONE = _BOOK.add(
    "surprise",
    "none_in_prompt",
    "The instruction is null: the prompt reads 'None'.",
    "write an instruction, or remove the row",
)
_SYSTEM = _BOOK.add(
    "surprise",
    "system_column_ignored",
    "Type alpaca ignores 'system': the row trains with the usual preamble.",
    "use type alpaca_w_system.load_open_orca, or chats",
)
_HISTORY = _BOOK.add(
    "surprise", "history_ignored", "Type alpaca ignores 'history': its turns are neither seen nor trained.", "use chats"
)
# prompt_strategies/dpo/chat_template.py: default and argilla_chat index role_map, so an unknown role is a KeyError.
_PAIR_ROLE = _BOOK.add(
    "crashes",
    "pair_role",
    "A message of the pair has a role other than system, user, assistant and tool: KeyError.",
    "rename the roles, or set 'roles'",
)
_NULL_SIDE = _BOOK.add("crashes", "null_side", "A side of the pair is null: TypeError.", "remove the row")
_HH = _BOOK.add(
    "crashes",
    "pair_without_prompt",
    "The sides are strings and there is no prompt field: neither chat_template.default nor argilla_chat reads them.",
    "write the prompt into a field of its own",
)
# default and argilla_chat look for the content in a rendering and take what follows; nothing is found at 0.
_DUMMY = _BOOK.add(
    "surprise",
    "trains_on_dummy",
    "A side is empty: Axolotl trains on '[[dummy_message]]' and the template's own words in its place.",
    "remove the row",
)
_SAME = _BOOK.add(
    "surprise",
    "same_sides",
    "Chosen and rejected are the same: the pair is kept and teaches nothing.",
    "remove the row",
)
_LAST_ONLY = _BOOK.add(
    "surprise",
    "only_last_message",
    "With a prompt field, only the last message of a side is used: what stands before it in the side is lost.",
    "put the earlier messages into the prompt",
)
_CONTEXT = _BOOK.add(
    "surprise",
    "rejected_context_lost",
    "The sides differ before their last message: both are trained on the chosen side's context.",
    "make the contexts equal",
)

_MAPPED_ASSISTANT = frozenset({"assistant", "gpt"})
_MAPPED = frozenset({"human", "user", "assistant", "gpt", "system", "tool", ""})
_PAIR_ROLES = frozenset({"user", "assistant", "system", "tool"})


def find(facts: RowFacts) -> Iterator[str]:
    """Name the codes that hold for a row."""
    if facts.family in ("chat", "sharegpt"):
        yield from _find_in_chat(facts)
    elif facts.family == "alpaca":
        yield from _find_in_alpaca(facts)
    elif facts.family == "preference":
        yield from _find_in_pair(facts)


def _find_in_chat(facts: RowFacts) -> Iterator[str]:
    thread = facts.thread
    if thread.kind != "messages":
        yield _NO_LIST
        return
    if not thread.roles:
        yield _EMPTY
        return
    if "no_message" in thread.contents:
        yield _NO_MESSAGE
        return
    if "tools_bad_json" in facts.marks:
        yield _TOOLS
    if {"tools_other", "tools_nothing"} & facts.marks:
        yield _TOOLS_NO_LIST
    yield from _find_in_thread(thread)
    yield from _find_untrained(thread)
    if "untrained" in facts.marks:
        yield _WEIGHT


def _find_in_thread(thread: Thread) -> Iterator[str]:
    contents = set(thread.contents)
    if "" in thread.roles:
        yield _NO_ROLE
    if contents & set(ABSENT):
        yield _NO_CONTENT
    if contents & {"number", "object"}:
        yield _NUMBER
    if "media" in contents:
        yield _MEDIA
    if "strings" in contents:
        yield _STRINGS
    roles = set(thread.roles)
    if roles & (ASSISTANT_ROLES - _MAPPED_ASSISTANT):
        yield _NOT_TRAINED
    if roles - _MAPPED - ASSISTANT_ROLES:
        yield _ODD_ROLE


def _find_untrained(thread: Thread) -> Iterator[str]:
    pairs = zip(thread.roles, thread.contents, strict=True)
    answers = [content for role, content in pairs if role in _MAPPED_ASSISTANT]
    silent = [content in ("empty", "strings") for content in answers]
    if all(silent):
        yield _NO_TOKENS
    elif any(silent):
        yield _EMPTY_ANSWER


def _find_in_alpaca(facts: RowFacts) -> Iterator[str]:
    output = facts.kind("output")
    if output in (*ABSENT, "empty"):
        yield _NO_OUTPUT
    elif output in NOT_TEXT:
        yield _OUTPUT_NOT_TEXT
    if facts.kind("instruction") in ABSENT:
        yield _NONE
    if "system_column" in facts.marks:
        yield _SYSTEM
    if "history_column" in facts.marks:
        yield _HISTORY


def _find_in_pair(facts: RowFacts) -> Iterator[str]:
    sides = (facts.kind("chosen"), facts.kind("rejected"))
    if any(kind in ABSENT for kind in sides):
        yield _NULL_SIDE
        return
    has_prompt = "prompt_in_None" not in facts.marks
    threads = (facts.thread, facts.chosen, facts.rejected)
    if not has_prompt and facts.chosen.kind != "messages":
        yield _HH
        return
    if any(set(thread.roles) - _PAIR_ROLES for thread in threads):
        yield _PAIR_ROLE
    if any({*ABSENT} & set(thread.contents) for thread in threads):
        yield _NO_CONTENT
    if "empty" in sides or any(thread.contents[-1:] == ("empty",) for thread in threads[1:]):
        yield _DUMMY
    if "same_sides" in facts.marks:
        yield _SAME
    if has_prompt and "long_sides" in facts.marks and not _is_prompt_and_answer(facts):
        yield _LAST_ONLY
    if not has_prompt and "contexts_differ" in facts.marks:
        yield _CONTEXT


def _is_prompt_and_answer(facts: RowFacts) -> bool:
    """Tell whether the sides are the prompt and one message: then nothing is lost with what stands before it."""
    n_prompt = len(facts.thread.roles) or 1
    is_short = all(len(thread.roles) <= n_prompt + 1 for thread in (facts.chosen, facts.rejected))
    return is_short and ("prompt_inside" in facts.marks or facts.kind("prompt") == "text")


TRAINER = Trainer(
    name="axolotl",
    version="0.19.0",
    assumes="type chat_template for chats and ShareGPT with its fields named and roles_to_train [assistant], alpaca "
    "for Alpaca, chat_template.default or argilla_chat for pairs; other shapes are not judged",
    families=frozenset({"alpaca", "chat", "preference", "sharegpt"}),
    rules=_RULES,
    find=find,
)
