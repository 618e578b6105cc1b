"""How TRL (1.16) reads an export: the lines that load it, and the trainer that fits its shape.

SFTTrainer reads `messages`, `prompt` with `completion`, or `text`; DPOTrainer `prompt`, `chosen` and `rejected`;
KTOTrainer `prompt`, `completion` and `label`. Columns that it does not expect can break it, so only those are selected.
"""

from __future__ import annotations

import glob

from audit.export.advice import Advice, convert_first
from audit.export.fences import quote
from audit.export.looks import Look

BUILDERS = {"parquet": "parquet", "arrow": "arrow", "csv": "csv", "tsv": "csv"}
"""Container → what `datasets` reads it with; `json` for any other."""

_ROLES = """ROLES = {"human": "user", "gpt": "assistant", "observation": "tool"}"""
_KNOWN_ROLES = frozenset({"human", "gpt", "observation", "user", "assistant", "tool", "system"})


def advise_trl(look: Look) -> Advice:
    """Return the snippet for TRL."""
    if look.shape == "preference":
        return _advise_preference(look)
    if look.shape == "prompt_completion":
        return _advise_completion(look)
    if look.shape == "chat" and look.kind("messages") == "messages":
        return _advise_chat(look)
    if look.shape in ("chat", "sharegpt") and look.kind("messages") == "turns":
        return _advise_turns(look)
    if look.shape in ("alpaca", "qa") and {look.kind("prompt"), look.kind("response")} == {"text"}:
        return _advise_instructions(look)
    if look.shape == "text" and look.kind("text") == "text":
        return _advise_text(look)
    return convert_first("TRL", "chat", "it knows no such shape")


def load_lines(look: Look) -> list[str]:
    """Return the Python lines that load the output as `dataset`."""
    if look.is_directory:
        return _load_directories(look)
    builder = BUILDERS.get(look.container, "json")
    # The name is taken as a pattern.
    names = [quote(glob.escape(file)) for file in look.files]
    files = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    words = [quote(builder), f"data_files={files}", 'split="train"']
    if builder != "csv":
        return ["from datasets import load_dataset", "", f"dataset = load_dataset({', '.join(words)})"]
    words += [f"sep={quote(look.delimiter)}", "keep_default_na=False", "features=features"]
    # Without types, a column that holds digits only would be one of numbers.
    types = {name: "bool" if kind == "flag" else "string" for name, kind in look.kinds.items() if kind != "number"}
    return [
        "from datasets import Features, Value, load_dataset",
        "",
        f"features = Features({{{', '.join(f'{quote(name)}: Value({quote(kind)})' for name, kind in types.items())}}})",
        f"dataset = load_dataset({', '.join(words)})",
    ]


def _load_directories(look: Look) -> list[str]:
    loads = [f"load_from_disk({quote(file)})" for file in look.files]
    if len(loads) == 1:
        return ["from datasets import load_from_disk", "", f"dataset = {loads[0]}"]
    whole = f"dataset = concatenate_datasets([{', '.join(loads)}])"
    return ["from datasets import concatenate_datasets, load_from_disk", "", whole]


def _select(look: Look, columns: dict[str, str]) -> list[str]:
    """Return the lines that leave only some columns, under the names that TRL wants (field → name)."""
    lines = [f"dataset = dataset.select_columns([{', '.join(quote(name) for name in columns)}])"]
    renamed = {own: wanted for own, wanted in columns.items() if own != wanted}
    if renamed:
        pairs = ", ".join(f"{quote(own)}: {quote(wanted)}" for own, wanted in renamed.items())
        lines.append(f"dataset = dataset.rename_columns({{{pairs}}})")
    return lines


def _advise(look: Look, lines: list[str], trainer: str, options: str = "", notes: tuple[str, ...] = ()) -> Advice:
    config = trainer.removesuffix("Trainer") + "Config"
    train = [
        f"from trl import {config}, {trainer}",
        "",
        f'args = {config}(output_dir="trained"{options})',
        f'trainer = {trainer}(model="MODEL", args=args, train_dataset=dataset)',
        "trainer.train()",
    ]
    blocks = (("python", "\n".join([*load_lines(look), *lines])), ("python", "\n".join(train)))
    return Advice(blocks, notes)


def _tools(look: Look) -> dict[str, str]:
    return {"tools": "tools"} if look.has("tools") else {}


def _advise_chat(look: Look) -> Advice:
    if "system" in look.keys:
        return convert_first("TRL", "chat", "it ignores a system prompt beside the messages")
    notes = (
        "`assistant_only_loss` keeps the loss to the assistant's tokens. Without it TRL trains on the user's, too. It "
        "needs a chat template with `{% generation %}` marks, which TRL has ready for well-known ones.",
        "TRL reads `messages` (and `tools`); it ignores `weight`.",
    )
    lines = _select(look, {look.keys["messages"]: "messages", **_tools(look)})
    return _advise(look, lines, "SFTTrainer", ", assistant_only_loss=True", notes)


def _advise_turns(look: Look) -> Advice:
    if look.roles - _KNOWN_ROLES or look.kinds.get("tools", "null") != "null":
        return convert_first("TRL", "chat", "it wants tools, their calls and roles as chat templates have them")
    key = quote(look.keys["messages"])
    system = look.keys.get("system")
    lines = [
        _ROLES,
        "",
        "",
        "def to_messages(example):",
        "    turns = [",
        '        {"role": ROLES.get(turn["from"], turn["from"]), "content": turn["value"]}',
        f"        for turn in example[{key}]",
        "    ]",
        *_head_lines(system, "turns"),
        '    return {"messages": turns}',
        "",
        "",
        "dataset = dataset.map(to_messages, remove_columns=dataset.column_names)",
    ]
    notes = (
        "TRL renames `from` and `value`, but not the roles `human` and `gpt`, which chat templates do not know; "
        "`export --format chat` writes `messages` instead, tool calls included.",
        "`assistant_only_loss` keeps the loss to the assistant's tokens.",
    )
    return _advise(look, lines, "SFTTrainer", ", assistant_only_loss=True", notes)


def _head_lines(system: str | None, name: str) -> list[str]:
    if system is None:
        return []
    key = quote(system)
    return [
        f"    if example[{key}]:",
        f'        {name}.insert(0, {{"role": "system", "content": example[{key}]}})',
    ]


def _advise_instructions(look: Look) -> Advice:
    prompt, response = quote(look.keys["prompt"]), quote(look.keys["response"])
    question = f"example[{prompt}]"
    if "context" in look.keys:
        context = f"example[{quote(look.keys['context'])}]"
        question = f'"\\n\\n".join(text for text in (example[{prompt}], {context}) if text)'
    lines = [
        "def to_prompt_completion(example):",
        "    prompt = []",
        *_head_lines(look.keys.get("system"), "prompt"),
    ]
    if look.shape == "alpaca" and look.has("history"):
        lines += [
            '    for question, answer in example["history"] or []:',
            '        prompt += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]',
        ]
    lines += [
        f'    prompt.append({{"role": "user", "content": {question}}})',
        f'    return {{"prompt": prompt, "completion": [{{"role": "assistant", "content": example[{response}]}}]}}',
        "",
        "",
        "dataset = dataset.map(to_prompt_completion, remove_columns=dataset.column_names)",
    ]
    notes = ("TRL knows no instructions and answers without such a function; `export --format chat` does the same.",)
    return _advise(look, ["", "", *lines], "SFTTrainer", "", notes)


def _advise_text(look: Look) -> Advice:
    notes = ("All of the text is trained on.",)
    return _advise(look, _select(look, {look.keys["text"]: "text"}), "SFTTrainer", "", notes)


def _advise_completion(look: Look) -> Advice:
    if "system" in look.keys or not _is_alike(look, "prompt", "response"):
        why = "prompt and completion are not of one kind, or have a system prompt"
        return convert_first("TRL", "prompt_completion", why)
    columns = {look.keys["prompt"]: "prompt", look.keys["response"]: "completion", **_tools(look)}
    if look.kinds.get("label") == "flag":
        return _advise(look, _select(look, {**columns, "label": "label"}), "KTOTrainer")
    notes = ("The loss is on the completion alone, which is TRL's default for these columns.",)
    return _advise(look, _select(look, columns), "SFTTrainer", "", notes)


def _advise_preference(look: Look) -> Advice:
    if look.has_inner_prompt:
        return convert_first("TRL", "preference", "the prompt lies inside the object `input`")
    sides = ("prompt", "chosen", "rejected") if "prompt" in look.keys else ("chosen", "rejected")
    if "system" in look.keys or not _is_alike(look, *sides) or look.keys.get("prompt") == "instruction":
        return convert_first("TRL", "preference", "prompt and sides are not of one kind, or have a system prompt")
    notes = () if "prompt" in look.keys else ("TRL takes what both sides begin with as the prompt.",)
    columns = {look.keys[role]: role for role in sides}
    return _advise(look, _select(look, {**columns, **_tools(look)}), "DPOTrainer", "", notes)


def _is_alike(look: Look, *roles: str) -> bool:
    kinds = {look.kind(role) for role in roles}
    return len(kinds) == 1 and kinds <= {"text", "messages"}
