"""Chat templates in the styles that models ship, each with what it does to a response, said by hand.

Written for the tests: the structure and behaviour of the real ones, not their text. What stands here about a style
(what opens and closes a response, what it trims, what it leaves out) is what `audit.model.chat` has to find out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audit.model.template import PLAIN_TEMPLATE

DATE_FORMAT = "%d %b %Y"


@dataclass(frozen=True)
class Style:
    """A template and what its author knows of it.

    Attributes:
        text: Jinja source.
        tokens: special tokens that it writes; the first is the BOS token if the style has one.
        bos, eos: its special tokens by name; empty where it has none.
        opening, closing: what it writes between the prompt and an answer without reasoning, and behind the answer.
        leaves: what is left of an answer; None: the answer is not found.
        thinks: `fields` where it writes reasoning of either kind, `content` where it knows the block in the content
            as text alone, `drops` where it leaves the block out, `no` where it does not know reasoning.
        takes_system: whether a conversation may open with a system message.
        takes_tools: whether tools, calls and tool messages are rendered.
        is_prefix: whether its prompt is a prefix of the prompt with its response.
    """

    text: str
    tokens: tuple[str, ...] = ()
    bos: str = ""
    eos: str = ""
    opening: str = ""
    closing: str = ""
    leaves: Callable[[str], str | None] = str
    thinks: str = "content"
    takes_system: bool = True
    takes_tools: bool = False
    is_prefix: bool = True


_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_CHATML_TURN = "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
_CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

CHATML = Style(
    text="{% for message in messages %}" + _CHATML_TURN + "{% endfor %}" + _CHATML_PROMPT,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
)

DEFAULT_SYSTEM = Style(
    text="{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nAnswer as an assistant.<|im_end|>\n' }}{% endif %}" + CHATML.text,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
)

LLAMA_3 = Style(
    text="{{ bos_token }}{% if date_string is not defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + date_string + '\n\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}{% endif %}"
    "<|eot_id|>{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + (message.content | trim) + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    bos="<|begin_of_text|>",
    eos="<|eot_id|>",
    closing="<|eot_id|>",
    leaves=str.strip,
)

LLAMA_31_TOOLS = Style(
    text="{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}{% endif %}"
    "<|eot_id|>{% for message in messages %}{% if 'tool_calls' in message %}"
    "{% if message.tool_calls | length != 1 %}{{ raise_exception('One call a turn, please.') }}{% endif %}"
    "{% set call = message.tool_calls[0].function %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    '{{ \'{"name": "\' + call.name + \'", "parameters": \' }}{{ call.arguments | tojson }}{{ "}<|eot_id|>" }}'
    "{% elif message.role == 'tool' %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{ message.content | tojson }}<|eot_id|>"
    "{% else %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{% if tools and loop.first and message.role == 'user' %}{{ 'Call one of these as JSON.\n\n' }}"
    "{% for tool in tools %}{{ tool | tojson(indent=4) + '\n\n' }}{% endfor %}{% endif %}"
    "{{ message.content | trim }}<|eot_id|>{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    tokens=LLAMA_3.tokens,
    bos="<|begin_of_text|>",
    eos="<|eot_id|>",
    closing="<|eot_id|>",
    leaves=str.strip,
    takes_tools=True,
)

MISTRAL = Style(
    text="{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% set ns = namespace(asked=false, last_user=-1) %}{% for message in messages %}"
    "{% if message.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}{% endfor %}"
    "{% for message in messages %}"
    "{% if message.role == 'user' or (message.role == 'assistant' and 'tool_calls' not in message) %}"
    "{% if (message.role == 'user') == ns.asked %}{{ raise_exception('Roles must alternate.') }}{% endif %}"
    "{% set ns.asked = message.role == 'user' %}{% endif %}"
    "{% if message.role == 'user' %}{% if tools and loop.index0 == ns.last_user %}"
    "{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{{ '[INST] ' + (system if loop.first else '') + message.content + '[/INST]' }}"
    "{% elif 'tool_calls' in message %}[TOOL_CALLS][{% for call in message.tool_calls %}"
    "{% if call.id is not defined or call.id | length != 9 %}"
    "{{ raise_exception('Ids of tool calls must have 9 characters.') }}{% endif %}"
    '{{ (call.function | tojson)[:-1] + \', "id": "\' + call.id + \'"}\' }}{% endfor %}{{ "]" + eos_token }}'
    "{% elif message.role == 'tool' %}{{ '[TOOL_RESULTS]' + (message.content | tojson) + '[/TOOL_RESULTS]' }}"
    "{% elif message.role == 'assistant' %}{{ ' ' + (message.content | trim) + eos_token }}"
    "{% else %}{{ raise_exception('The role ' + message.role + ' is unknown.') }}{% endif %}{% endfor %}",
    tokens=("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    bos="<s>",
    eos="</s>",
    opening=" ",
    closing="</s>",
    leaves=str.strip,
    takes_tools=True,
)

GEMMA = Style(
    text="{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('No system role here.') }}{% endif %}"
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ (message.content | trim) + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    tokens=("<bos>", "<start_of_turn>", "<end_of_turn>"),
    bos="<bos>",
    eos="<end_of_turn>",
    closing="<end_of_turn>\n",
    leaves=str.strip,
    takes_system=False,
)

PHI = Style(
    text="{% for message in messages %}{% if message.role in ('system', 'user', 'assistant') %}"
    "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    tokens=("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    eos="<|endoftext|>",
    closing="<|end|>\n<|endoftext|>",
)

ZEPHYR = Style(
    text="{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
    tokens=("<s>", "</s>"),
    bos="<s>",
    eos="</s>",
    closing="</s>\n",
)


def _deepseek(prompt: str) -> str:
    return (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
        "{% for message in messages %}{% if message.role == 'user' %}{{ '<|User|>' + message.content }}"
        "{% elif message.role == 'assistant' %}{% set content = message.content %}"
        "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
        "{{ '<|Assistant|>' + content + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + prompt + "' }}{% endif %}"
    )


_DEEPSEEK_TOKENS = ("<|begin|>", "<|eos|>", "<|User|>", "<|Assistant|>", "<think>", "</think>")
DEEPSEEK = Style(
    text=_deepseek("<|Assistant|>"),
    tokens=_DEEPSEEK_TOKENS,
    bos="<|begin|>",
    eos="<|eos|>",
    closing="<|eos|>",
    thinks="drops",
)
DEEPSEEK_OPEN = Style(
    text=_deepseek("<|Assistant|><think>\\n"),
    tokens=_DEEPSEEK_TOKENS,
    bos="<|begin|>",
    eos="<|eos|>",
    thinks="drops",
    is_prefix=False,
)

QWEN_3 = Style(
    text="{% if tools %}{{ '<|im_start|>system\n' }}{% if messages[0].role == 'system' %}"
    "{{ messages[0].content + '\n\n' }}{% endif %}{{ '# Tools\n<tools>' }}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}{{ '\n</tools><|im_end|>\n' }}"
    "{% elif messages[0].role == 'system' %}"
    "{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{% endif %}"
    "{% set ns = namespace(last_query=-1) %}{% for message in messages %}"
    "{% if message.role == 'user' %}{% set ns.last_query = loop.index0 %}{% endif %}{% endfor %}"
    "{% for message in messages %}{% if message.role == 'user' %}" + _CHATML_TURN + "{% elif message.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}"
    "{% elif message.role == 'assistant' %}{% set content = message.content %}{% set reasoning = '' %}"
    "{% if message.reasoning_content is string %}{% set reasoning = message.reasoning_content %}"
    "{% elif '</think>' in content %}"
    "{% set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > ns.last_query and (loop.last or reasoning) %}"
    "{{ '<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
    "{% else %}{{ content }}{% endif %}{% for call in message.tool_calls %}"
    "{{ '\n' if content or not loop.first else '' }}"
    '{{ \'<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{% if call.function.arguments is string %}{{ call.function.arguments }}"
    "{% else %}{{ call.function.arguments | tojson }}{% endif %}{{ '}\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}" + _CHATML_PROMPT,
    tokens=(*_CHATML_TOKENS, "<think>", "</think>", "<tool_call>", "</tool_call>"),
    eos="<|im_end|>",
    opening="<think>\n\n</think>\n\n",
    closing="<|im_end|>\n",
    leaves=lambda content: content.lstrip("\n"),
    thinks="fields",
    takes_tools=True,
)

HARMONY = Style(
    text="{{ '<|start|>system<|message|>Reasoning: medium<|end|>' }}{% for message in messages %}"
    "{% if message.role == 'assistant' %}{% if message.thinking and loop.last %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + message.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
    "{% else %}{{ '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
    tokens=("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
    eos="<|return|>",
    opening="<|channel|>final<|message|>",
    closing="<|return|>",
    thinks="field",
)

PLAIN = Style(text=PLAIN_TEMPLATE, tokens=("<s>", "</s>"), bos="<s>", opening=" ", closing="\n\n", leaves=str.strip)

NO_GENERATION_PROMPT = Style(
    text="{% for message in messages %}" + _CHATML_TURN + "{% endfor %}",
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    opening="<|im_start|>assistant\n",
    closing="<|im_end|>\n",
)

DATED = Style(
    text="{{ '<|im_start|>system\nToday: ' + strftime_now('" + DATE_FORMAT + "') + '<|im_end|>\n' }}" + CHATML.text,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
)

SYSTEM_BEHIND = Style(
    text="{% for message in messages if message.role != 'system' %}" + _CHATML_TURN + "{% endfor %}"
    "{% for message in messages if message.role == 'system' %}" + _CHATML_TURN + "{% endfor %}" + _CHATML_PROMPT,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
    takes_system=False,
)


def _shouted(content: str) -> str | None:
    return content if content.upper() == content else None


UPPER_CASE = Style(
    text="{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{{ message.content | upper }}"
    "{{ '<|im_end|>\n' }}{% endfor %}" + _CHATML_PROMPT,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
    leaves=_shouted,
)


def _squeezed(content: str) -> str | None:
    return None if "\n\n" in content.strip() else content.strip()


SQUEEZED = Style(
    text="{% for message in messages %}{{ '### ' + message.role + '\n' }}"
    "{{ message.content.strip().replace('\n\n', '\n') + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}",
    closing="\n",
    leaves=_squeezed,
)

GENERATION_MARKS = Style(
    text="{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message.content + '<|im_end|>\n' }}{% endif %}{% endfor %}" + _CHATML_PROMPT,
    tokens=_CHATML_TOKENS,
    eos="<|im_end|>",
    closing="<|im_end|>\n",
)

BLOCK_UNLESS_WRITTEN = Style(
    text="{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' and loop.last and '<think>' not in message.content %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ message.content + '<|im_end|>\n' }}{% endfor %}" + _CHATML_PROMPT,
    tokens=(*_CHATML_TOKENS, "<think>", "</think>"),
    eos="<|im_end|>",
    opening="<think>\n\n</think>\n\n",
    closing="<|im_end|>\n",
)

STYLES: dict[str, Style] = {
    "chatml": CHATML,
    "default_system": DEFAULT_SYSTEM,
    "llama_3": LLAMA_3,
    "llama_31_tools": LLAMA_31_TOOLS,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "phi": PHI,
    "zephyr": ZEPHYR,
    "deepseek": DEEPSEEK,
    "deepseek_open": DEEPSEEK_OPEN,
    "qwen_3": QWEN_3,
    "harmony": HARMONY,
    "plain": PLAIN,
    "no_generation_prompt": NO_GENERATION_PROMPT,
    "dated": DATED,
    "system_behind": SYSTEM_BEHIND,
    "upper_case": UPPER_CASE,
    "squeezed": SQUEEZED,
    "generation_marks": GENERATION_MARKS,
    "block_unless_written": BLOCK_UNLESS_WRITTEN,
}

WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def call_weather(*cities: str, as_text: bool = False) -> list[dict[str, Any]]:
    """Return tool calls for the weather of cities, arguments as objects or as JSON text."""
    arguments: list[Any] = [{"city": city} for city in cities]
    if as_text:
        arguments = [json.dumps(own) for own in arguments]
    return [
        {"type": "function", "id": f"call{position:05}", "function": {"name": "weather", "arguments": own}}
        for position, own in enumerate(arguments)
    ]
