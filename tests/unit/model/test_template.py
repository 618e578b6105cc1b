from __future__ import annotations

import pytest

from audit.errors import ModelError
from audit.model.template import PLAIN_TEMPLATE, TEMPLATE_DATE, Template, TemplateRefusal, choose_template
from audit.samples.sample import Message
from tests import models

CHAT = [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Why?")]


@pytest.mark.parametrize("family", models.FAMILIES)
def test_rendering_equals_transformers_own_apart_from_the_date(family: str) -> None:
    tokenizer = models.build_tokenizer(family)
    tokenizer.chat_template = models.TEMPLATES[family]
    messages = [{"role": message.role, "content": message.content} for message in CHAT]
    wanted = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, date_string=TEMPLATE_DATE.strftime("%d %b %Y")
    )
    assert choose_template(tokenizer, "tiny").render(CHAT, is_prompt=True) == wanted


def test_a_template_that_prints_today_prints_the_fixed_date() -> None:
    template = Template("model", "{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}")
    assert template.render(CHAT, is_prompt=False) == "2024-07-26 Hi"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
        ("{{ messages[9].content.strip() }}", "no element 9"),
        ("{{ 'a' + 1 }}", "str"),
        ("{{ messages[0].missing.deeper }}", "missing"),
        ("{{ 1 // 0 }}", "zero"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion"),
    ],
)
def test_a_template_that_refuses_gives_its_own_reason(text: str, reason: str) -> None:
    with pytest.raises(TemplateRefusal, match=reason):
        Template("model", text).render(CHAT, is_prompt=True)


def test_a_model_without_a_template_gets_the_plain_one_with_the_bos_it_would_add() -> None:
    tokenizer = models.build_tokenizer("gemma2")
    template = choose_template(tokenizer, "tiny")
    assert (template.name, template.text) == ("plain", PLAIN_TEMPLATE)
    assert template.render(CHAT, is_prompt=True) == "User: Hi\n\nAssistant: Hello.\n\nUser: Why?\n\nAssistant:"
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    assert choose_template(tokenizer, "tiny").render(CHAT, is_prompt=True).startswith("<bos>User: Hi")


def test_reasoning_calls_and_tools_reach_the_template_under_the_names_it_looks_for() -> None:
    call = '[{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]'
    messages = [
        Message("assistant", "Hi", reasoning="plan", tool_calls=call),
        Message("tool", "2", name="f", tool_call_id="c1"),
    ]
    text = (
        "{{ messages[0].reasoning_content }} {{ messages[0].thinking }} {{ messages[0].reasoning }} "
        "{{ messages[0].tool_calls[0].function.arguments.x + 1 }} "
        "{{ messages[1].name }} {{ messages[1].tool_call_id }} "
        "{{ tools[0].function.name }}"
    )
    tools = '[{"type": "function", "function": {"name": "g"}}]'
    assert Template("model", text).render(messages, is_prompt=False, tools=tools) == "plan plan plan 2 f c1 g"


def test_what_a_message_does_not_have_is_absent() -> None:
    text = "{{ messages[0].keys() | list | join(' ') }}{{ ' tools' if tools is not none else '' }}"
    assert Template("model", text).render(CHAT, is_prompt=False) == "role content"


def test_several_named_templates_use_the_default_one() -> None:
    tokenizer = models.build_tokenizer("llama")
    tokenizer.chat_template = {"default": "A", "rag": "B"}
    assert choose_template(tokenizer, "tiny").text == "A"
    tokenizer.chat_template = {"rag": "B", "other": "C"}
    with pytest.raises(ModelError, match="chat template cannot be used"):
        choose_template(tokenizer, "tiny")


def test_a_template_that_does_not_parse_is_refused() -> None:
    tokenizer = models.build_tokenizer("llama")
    tokenizer.chat_template = "{% for message %}"
    with pytest.raises(ModelError, match="chat template cannot be used"):
        choose_template(tokenizer, "tiny")


def test_what_closes_a_response_is_known() -> None:
    assert Template("model", models.TEMPLATES["qwen2"]).closing() == "<|im_end|>\n"
    assert Template("model", models.TEMPLATES["gemma2"]).closing() == "<end_of_turn>\n"
    assert Template("model", "{{ raise_exception('no') }}").closing() == ""
