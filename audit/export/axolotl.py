"""How Axolotl (0.19) reads an export: the entry of its `datasets:` list, by the record shape.

Chat goes through `chat_template`, texts through a prompt of one's own, pairs through `rl: dpo`.
"""

from __future__ import annotations

from audit.export.advice import Advice, convert_first, digits_note
from audit.export.fences import quote
from audit.export.looks import Look

_ROLES = {
    "user": ("human", "user"),
    "assistant": ("gpt", "assistant", "chatgpt", "bot", "model"),
    "system": ("system", "developer"),
    "tool": ("observation", "tool", "function", "ipython", "tool_response"),
}
_OWN_ROLES = frozenset({"user", "human", "assistant", "gpt", "system", "tool"})
_CALLS = frozenset({"function_call", "tool_call"})
_TYPES = {"parquet": "parquet", "arrow": "arrow", "csv": "csv"}


def advise_axolotl(look: Look) -> Advice:
    """Return the snippet for Axolotl."""
    if look.container == "tsv" or (look.container == "csv" and look.delimiter != ","):
        return Advice(notes=("Axolotl reads CSV with commas only: export again with `--format jsonl`.",))
    if look.numeric & set(look.keys.values()):
        return Advice(notes=(digits_note("Axolotl"),))
    if look.shape == "preference":
        return _advise_preference(look)
    if look.shape in ("chat", "sharegpt") and look.kind("messages") in ("messages", "turns"):
        return _advise_chat(look)
    if look.shape in ("alpaca", "qa", "prompt_completion"):
        return _advise_instructions(look)
    if look.shape == "text" and look.kind("text") == "text":
        return _advise(look, ["    type: completion", f"    field: {quote(look.keys['text'])}"])
    return convert_first("Axolotl", "chat", "it knows no such shape")


def _advise(look: Look, lines: list[str], *, rl: str = "", notes: tuple[str, ...] = ()) -> Advice:
    head = [f"rl: {rl}"] if rl else []
    head.append("datasets:")
    for file in look.files:
        head.append(f"  - path: {quote(file)}")
        if rl:
            head.append("    split: train")
        elif not look.is_directory:
            head.append(f"    ds_type: {_TYPES.get(look.container, 'json')}")
        head += lines
    return Advice((("yaml", "\n".join(head)),), notes)


def _advise_chat(look: Look) -> Advice:
    is_turns = look.kind("messages") == "turns"
    if is_turns and {role.lower() for role in look.roles} & _CALLS:
        return convert_first("Axolotl", "chat", "it knows no turn that is a tool call")
    lines = [
        "    type: chat_template",
        f"    field_messages: {quote(look.keys['messages'])}",
        "    message_property_mappings:",
        f"      role: {'from' if is_turns else 'role'}",
        f"      content: {'value' if is_turns else 'content'}",
    ]
    if is_turns or look.roles - _OWN_ROLES:
        lines += _name_roles(look)
    # It heads the messages with a column `system`, and lets no other be named.
    if look.keys.get("system", "system") != "system":
        return convert_first("Axolotl", "chat", "a system prompt beside the messages must be called `system`")
    return _advise(look, lines, notes=("Only the assistant's turns are trained on, which is Axolotl's default here.",))


def _name_roles(look: Look) -> list[str]:
    """Return the lines that say who speaks; they replace the list that Axolotl has of its own."""
    lines = ["    roles:"]
    for role, names in _ROLES.items():
        spelled = [name for name in sorted(look.roles) if name.strip().lower() in names]
        # The first two are what most files have.
        shown = dict.fromkeys([*names[:2], *spelled])
        lines.append(f"      {role}: [{', '.join(quote(name) for name in shown)}]")
    return lines


def _advise_instructions(look: Look) -> Advice:
    if look.kinds.get("label") == "flag" and look.shape == "prompt_completion":
        return _advise_labels(look)
    if {look.kind("prompt"), look.kind("response")} != {"text"}:
        return convert_first("Axolotl", "chat", "it reads texts here, not message lists")
    if look.shape == "alpaca" and look.has("history"):
        return convert_first("Axolotl", "chat", "it does not read `history`")
    own = {"prompt": "instruction", "response": "output"}
    if look.shape == "alpaca" and look.keys in (own, {**own, "context": "input"}):
        notes = ("`type: alpaca` writes Alpaca's own words around the instruction.",)
        return _advise(look, ["    type: alpaca"], notes=notes)
    lines = ["    type:", f"      field_instruction: {quote(look.keys['prompt'])}"]
    lines.append(f"      field_output: {quote(look.keys['response'])}")
    if "system" in look.keys:
        lines += [f"      field_system: {quote(look.keys['system'])}", '      system_format: "{system}\\n\\n"']
    if "context" in look.keys:
        field = f"      field_input: {quote(look.keys['context'])}"
        lines += [field, '      format: "{instruction}\\n\\n{input}\\n"']
    else:
        # Axolotl fills `input` from a column of that name, whatever it is.
        lines += ['      field_input: "no_such_column"', '      format: "{instruction}\\n"']
    lines.append('      no_input_format: "{instruction}\\n"')
    notes = ("Without chat template; `export --format chat` gives records that go through one.",)
    return _advise(look, lines, notes=notes)


def _advise_labels(look: Look) -> Advice:
    if {look.kind("prompt"), look.kind("response")} != {"text"}:
        return Advice(notes=("Axolotl's KTO reads texts, not message lists: train on these records with TRL.",))
    lines = [
        "    type:",
        f"      field_prompt: {quote(look.keys['prompt'])}",
        f"      field_completion: {quote(look.keys['response'])}",
        '      field_label: "label"',
    ]
    return _advise(look, lines, rl="kto", notes=("Prompts go in as they are, without chat template.",))


def _advise_preference(look: Look) -> Advice:
    if look.has_inner_prompt:
        return convert_first("Axolotl", "preference", "the prompt lies inside the object `input`")
    kinds = {look.kind("chosen"), look.kind("rejected")}
    is_foreign = "system" in look.keys or look.keys.get("prompt") == "instruction"
    if is_foreign or not kinds <= {"text", "messages", "message"}:
        return convert_first("Axolotl", "preference", "the sides are no texts or messages, or have a system prompt")
    fields = [f"    field_chosen: {quote(look.keys['chosen'])}", f"    field_rejected: {quote(look.keys['rejected'])}"]
    if look.kind("prompt") in ("text", "messages"):
        prompt = f"    field_messages: {quote(look.keys['prompt'])}"
        return _advise(look, ["    type: chat_template.default", prompt, *fields], rl="dpo")
    if kinds == {"messages"} and "prompt" not in look.keys:
        return _advise(look, ["    type: chat_template.argilla_chat", *fields], rl="dpo")
    return convert_first("Axolotl", "preference", "there is no prompt of its own")
