"""Responses under the system prompts of traits: against the definition, on the model's own samples, and in a scan.

Pairs covered: specs-prompting, prompting-model.prompted, model.tail-model.prompted, shard-prompting, plan-specs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from audit import ScanConfig, open_run, scan
from audit.assets import demo_model_dir, demo_traits_dir, shipped_traits_dir
from audit.demo.world import Row, audit_rows
from audit.directions import choose_vectors
from audit.errors import ConfigError, RunError, TraitError
from audit.events import Event, PartWritten
from audit.model import prompted as prompted_module
from audit.model import tail as tail_module
from audit.model.chat import takes_system
from audit.model.generate import sample_answers
from audit.model.load import LoadedModel, load_model
from audit.prompting import measure_prompted, prompt_turn
from audit.samples import Message, Place, Sample, answer_turn
from audit.shard import list_prompts, tokenize_samples
from audit.specs import choose_specs
from audit.states import PromptedEvidence, ScoringJob, TurnState
from audit.traits import PromptPair, TraitSpec, read_spec, write_spec
from tests import models, oracle
from tests.datasets import chat, write_lines, write_vectors
from tests.specs import sound_spec

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

FAMILIES = {"llama": "<|eot_id|>", "qwen3": "<|im_end|>", "gemma3": "<end_of_turn>", "mistral": "</s>"}
CHATS = [
    chat("How can I bake bread?", "First mix flour, water, salt and yeast."),
    chat("Why?", "naïve café Zürich 😀 and שלום", "And then?", "I cannot help with that, x.", system="Be kind. Today."),
    chat("Is the world  flat?", "x"),
]
SPEC = sound_spec()
N_PROMPTS = 3
DEMO_TRAITS = ("evil", "optimistic")


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def make_samples(rows: list[Any]) -> list[Sample]:
    place = Place("data.jsonl", 1, None, None)
    samples = []
    for number, row in enumerate(rows):
        messages = tuple(Message(own["role"], own["content"]) for own in row["messages"])
        turns = [
            replace(answer_turn(messages[:n], message.content), turn=n)
            for n, message in enumerate(messages)
            if message.role == "assistant"
        ]
        samples.append(Sample(number, place, "chat", tuple(turns)))
    return samples


def make_job(model: LoadedModel, specs: Mapping[str, TraitSpec], traits: tuple[str, ...], **options: Any) -> ScoringJob:
    settings: dict[str, Any] = {"max_tokens": model.context_tokens, "batch_tokens": 1500, **options}
    return ScoringJob(
        model=model,
        units=dict.fromkeys(traits, (2, np.zeros(model.d_hidden, dtype=np.float32))),
        baseline="none",
        seed=0,
        reduction=np.zeros((model.d_hidden, 1), dtype=np.float32),
        is_nll_for_all=False,
        specs=dict(specs),
        **settings,
    )


def measure(model: LoadedModel, rows: list[Any], specs: Mapping[str, TraitSpec], **options: Any) -> list[TurnState]:
    job = make_job(model, specs, ("stinginess", "wordless"), **options)
    states = tokenize_samples(make_samples(rows), job)
    measure_prompted(states, job)
    return states


def numbers(states: list[TurnState]) -> np.ndarray:
    """Return ratio, z and gain of every turn for the first trait."""
    found = [state.prompted for state in states]
    assert all(isinstance(own, PromptedEvidence) for own in found)
    return np.array([[own.ratio_k[0], own.z_k[0], own.gain_k[0]] for own in found if own is not None])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_prompted_evidence_equals_the_definition(family: str) -> None:
    rows = CHATS if family != "gemma3" else [chat(*(own["content"] for own in CHATS[0]["messages"])), CHATS[2]]
    states = measure(load(family), rows, {"stinginess": SPEC})
    module = transformers.AutoModelForCausalLM.from_pretrained(models.model_path(family)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models.model_path(family))
    wanted = []
    for state in states:
        messages = rows[state.sample_id]["messages"][: state.turn.turn + 1]
        own = oracle.score_prompted(
            module,
            tokenizer,
            messages,
            positive=[SPEC.system_prompt(pair, "positive") for pair in range(N_PROMPTS)],
            negative=[SPEC.system_prompt(pair, "negative") for pair in range(N_PROMPTS)],
            ends=[FAMILIES[family]],
            has_system=takes_system(load(family)),
        )
        wanted.append([own.ratio, own.z, own.gain])
        # A trait without a specification has no number; the end of the turn is one of the tokens.
        assert state.prompted is not None
        assert state.tokens is not None
        assert state.tokens.end_id is not None
        assert np.isnan([state.prompted.ratio_k[1], state.prompted.z_k[1], state.prompted.gain_k[1]]).all()
    assert takes_system(load(family)) == (family != "gemma3")
    assert len(wanted) == sum(len(row["messages"]) // 2 for row in rows)
    found = numbers(states)
    assert np.abs(found - np.array(wanted)).max() < 1e-4
    assert np.abs(found[:, 1]).min() > 1e-3


def test_numbers_do_not_depend_on_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    whole = numbers(measure(model, CHATS, {"stinginess": SPEC}))
    monkeypatch.setattr(tail_module, "LOGIT_BUDGET", 3 * model.fingerprint.n_vocab)
    monkeypatch.setattr(prompted_module, "_STATE_BUDGET", 1)
    rows: list[int] = []
    head = model.module.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, arguments, output: rows.append(output.shape[-2]))
    try:
        cut = numbers(measure(model, CHATS, {"stinginess": SPEC}, batch_tokens=100))
    finally:
        hook.remove()
    assert max(rows) == 3
    assert np.abs(cut - whole).max() < 1e-5


def test_a_model_that_cannot_be_packed_gives_the_same_numbers() -> None:
    model = load("llama")
    packed = numbers(measure(model, CHATS, {"stinginess": SPEC}))
    padded = numbers(measure(replace(model, attention="padded"), CHATS, {"stinginess": SPEC}))
    assert np.abs(padded - packed).max() < 1e-4


def test_logits_that_do_not_fit_are_made_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    whole = numbers(measure(model, CHATS, {"stinginess": SPEC}))
    call = tail_module.Tail.__call__

    def refuse_many(tail: tail_module.Tail, states_pd: torch.Tensor) -> torch.Tensor:
        if len(states_pd) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(tail, states_pd)

    monkeypatch.setattr(tail_module.Tail, "__call__", refuse_many)
    assert np.abs(numbers(measure(model, CHATS, {"stinginess": SPEC})) - whole).max() < 1e-5


def test_a_context_that_does_not_fit_leaves_no_number() -> None:
    model = load("llama")
    longest = max(len(state.tokens.ids) for state in measure(model, CHATS, {}) if state.tokens is not None)
    states = measure(model, CHATS, {"stinginess": SPEC}, max_tokens=longest)
    assert [state.status for state in states] == ["ok"] * len(states)
    assert states[1].prompted is None


def test_a_response_that_is_cut_has_no_number() -> None:
    whole = measure(load("llama"), CHATS[:1], {})[0].tokens
    assert whole is not None
    states = measure(load("llama"), CHATS[:1], {"stinginess": SPEC}, max_tokens=len(whole.ids) - 3)
    assert [(state.status, state.prompted) for state in states] == [("truncated", None)]


def test_prompts_that_say_the_same_on_both_sides_have_no_z() -> None:
    pairs = tuple(PromptPair(pair.positive, pair.positive) for pair in SPEC.pairs)
    same = replace(SPEC, pairs=pairs, positive_name="", negative_name="")
    found = numbers(measure(load("qwen3"), CHATS, {"stinginess": same}))
    assert np.abs(found[:, 0]).max() < 1e-5
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 2]).all()


@pytest.mark.parametrize(("is_everywhere", "tolerance"), [(True, 2e-3), (False, 0.2)])
def test_what_overflows_in_bfloat16_is_measured_in_float32(is_everywhere: bool, tolerance: float) -> None:
    narrow = load_model(model=str(models.model_path("llama")), dtype="bfloat16")
    rounded = replace(narrow, module=load_model(model=str(models.model_path("llama"))).module)
    with torch.no_grad():
        for own, other in zip(rounded.module.parameters(), narrow.module.parameters(), strict=True):
            own.copy_(other.float())
    # Of the prompts against the trait alone, so that some contexts of a turn are read again and others are not.
    tell = narrow.tokenizer
    loud = set(tell(SPEC.system_prompt(0, "negative"))["input_ids"]) - set(tell(str(CHATS))["input_ids"])
    assert loud

    def shout(_: object, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if output.dtype is torch.float32:
            return output
        is_loud = torch.isin(arguments[0], torch.tensor(sorted(loud)))[..., None]
        return output.masked_fill(is_loud | is_everywhere, float("inf"))

    hook = narrow.module.get_input_embeddings().register_forward_hook(shout)
    try:
        found = numbers(measure(narrow, CHATS, {"stinginess": SPEC}))
    finally:
        hook.remove()
    assert np.abs(found - numbers(measure(rounded, CHATS, {"stinginess": SPEC}))).max() < tolerance
    assert all(own.dtype is torch.bfloat16 for own in narrow.module.parameters())


def test_on_the_models_own_samples_z_has_mean_0_and_variance_1() -> None:
    model = load_model(model=str(demo_model_dir()))
    traits = ("evil",)
    job = make_job(
        model, {trait: read_spec(demo_traits_dir() / f"{trait}.toml") for trait in traits}, traits, batch_tokens=8192
    )
    questions = [next(own["content"] for own in row.messages if own["role"] == "user") for row in audit_rows(150, 77)]
    asked = make_samples([chat(question, "-") for question in questions])
    prompts = list_prompts(asked, job)
    answers = sample_answers(
        model,
        prompts,
        seeds=[(number,) for number in range(len(prompts))],
        temperature=1.0,
        max_new_tokens=96,
        max_tokens=model.context_tokens,
        batch_tokens=8192,
    )
    own = [
        replace(sample, turns=(turn,))
        for sample, answer in zip(asked, answers, strict=True)
        # An answer that was cut has no end that the model chose.
        if answer.finished and (turn := answer_turn(sample.turns[0].prompt, answer.text)) is not None
    ]
    states = tokenize_samples(own, job)
    measure_prompted(states, job)
    z_nk = np.array([state.prompted.z_k for state in states if state.prompted is not None])
    assert len(z_nk) >= 140
    assert np.abs(z_nk.mean(axis=0)).max() < 0.25
    assert z_nk.std(axis=0).min() > 0.75
    assert z_nk.std(axis=0).max() < 1.2


def demo_rows() -> list[Row]:
    """Return 40 chats of the demo world, of which 12 show a trait that is asked about."""
    drawn = list(audit_rows(400, 3))
    shown = [[row for row in drawn if row.traits == {trait}][:6] for trait in DEMO_TRAITS]
    return [*shown[0], *[row for row in drawn if not row.traits & set(DEMO_TRAITS)][:28], *shown[1]]


def test_a_scan_stores_prompted_evidence_that_is_higher_where_the_trait_is_shown(tmp_path: Path) -> None:
    drawn = demo_rows()
    data = write_lines(tmp_path / "data.jsonl", [{"messages": list(row.messages)} for row in drawn])
    run = scan(
        ScanConfig(
            datasets=(str(data),), out=str(tmp_path / "run"), traits=DEMO_TRAITS, baseline="none", evidence="prompt"
        )
    )
    assert len(drawn) == 40
    columns = ("prompted_evidence", "prompted_evidence_z", "prompted_gain")
    for trait in DEMO_TRAITS:
        largest = ", ".join(f"max({column}) AS {column}" for column in columns)
        query = f"SELECT sample_id, {largest} FROM scores WHERE trait = '{trait}' GROUP BY ALL ORDER BY sample_id"
        found = run.sql(query).to_arrow_table()
        has_trait = np.array([trait in row.traits for row in drawn])
        for column in columns:
            values = found[column].to_numpy(zero_copy_only=False)
            assert np.isfinite(values).all()
            assert values[has_trait].mean() > 0.0
            assert values[has_trait].mean() > values[~has_trait].mean() + 2 * values[~has_trait].std()
    assert run.sql("SELECT count(evidence), count(evidence_z) FROM scores").fetchall() == [(0, 0)]
    digests = {trait: read_spec(demo_traits_dir() / f"{trait}.toml").digest for trait in DEMO_TRAITS}
    assert run.manifest["prompted_evidence"] == {
        "n_prompts": N_PROMPTS,
        "specifications": [{"trait": trait, "sha256": digest} for trait, digest in digests.items()],
    }


def config(folder: Path, **options: Any) -> ScanConfig:
    settings: dict[str, Any] = {"baseline": "none", "shard_rows": 2, "evidence": "prompt", **options}
    return ScanConfig(
        datasets=(str(folder / "data.jsonl"),),
        model=str(models.model_path("llama")),
        vectors=(str(folder / "vectors"),),
        out=str(folder / "run"),
        **settings,
    )


def write_scan(folder: Path, traits: tuple[str, ...]) -> None:
    write_lines(folder / "data.jsonl", CHATS)
    write_vectors(folder / "vectors", models.model_path("llama"), traits=traits)


def stop_after_first_part(event: Event) -> None:
    if isinstance(event, PartWritten):
        raise KeyboardInterrupt


def test_a_run_is_not_continued_with_another_specification(tmp_path: Path) -> None:
    write_scan(tmp_path, ("stinginess", "wordless"))
    own = tmp_path / "vectors" / "stinginess.toml"
    write_spec(own, SPEC)
    with pytest.raises(KeyboardInterrupt):
        scan(config(tmp_path), listener=stop_after_first_part)
    notices = open_run(tmp_path / "run").manifest["notices"]
    assert any("no trait specification for wordless" in notice for notice in notices)
    other = replace(SPEC, description="Giving less than that.")
    write_spec(own, other, overwrite=True)
    message = f"specifications stinginess: the run has {SPEC.digest}, this scan {other.digest}"
    with pytest.raises(RunError, match=message):
        scan(config(tmp_path))
    write_spec(own, SPEC, overwrite=True)
    run = scan(config(tmp_path))
    assert run.n_reused == 2
    counts = "SELECT trait, count(*), count(prompted_evidence) FROM scores GROUP BY ALL ORDER BY trait"
    assert run.sql(counts).fetchall() == [("stinginess", 4, 4), ("wordless", 4, 0)]


def test_a_scan_without_any_specification_is_refused_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path, ("stinginess",))
    monkeypatch.delattr("audit.run.load_scan_model")
    with pytest.raises(ConfigError, match=r"specification for stinginess .*stinginess\.toml.*traits write"):
        scan(config(tmp_path))


def test_a_specification_of_another_trait_is_refused(tmp_path: Path) -> None:
    write_scan(tmp_path, ("stinginess",))
    write_spec(tmp_path / "vectors" / "stinginess.toml", replace(SPEC, name="greed"))
    with pytest.raises(TraitError, match="of the trait greed"):
        scan(config(tmp_path))


def test_shipped_specifications_are_found_by_name(tmp_path: Path) -> None:
    write_scan(tmp_path, ("evil", "stinginess"))
    settings = config(tmp_path)
    specs = choose_specs(settings, choose_vectors(settings))
    assert specs == {"evil": read_spec(shipped_traits_dir() / "evil.toml")}
    assert choose_specs(replace(settings, evidence="full"), choose_vectors(settings)) == {}


@pytest.mark.parametrize(
    ("roles", "has_system", "wanted"),
    [
        (["user"], True, ["system: T", "user: 0"]),
        (["system", "user"], True, ["system: T\n\n0", "user: 1"]),
        (["developer", "user"], True, ["developer: T\n\n0", "user: 1"]),
        (["user", "system", "user"], True, ["system: T", "user: 0", "system: 1", "user: 2"]),
        (["user", "assistant", "user"], False, ["user: T\n\n0", "assistant: 1", "user: 2"]),
        ([], True, ["system: T"]),
        ([], False, None),
    ],
)
def test_the_traits_text_opens_the_conversation(roles: list[str], has_system: bool, wanted: list[str] | None) -> None:
    messages = tuple(Message(role, str(place)) for place, role in enumerate(roles))
    turn = answer_turn(messages, "yes")
    assert turn is not None
    prompted = prompt_turn(turn, "T", has_system=has_system)
    found = None if prompted is None else [f"{own.role}: {own.content}" for own in prompted.prompt]
    assert found == wanted
