"""Groups of options that commands share or that belong together, as decorators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


def option_group(*decorators: Decorator) -> Callable[[Command], Command]:
    """Combine options into one decorator; help lists them in the order given."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


run_argument = click.argument("run", metavar="RUN", type=click.Path())

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")

_ROLES = {
    "messages": "Field with the list of messages.",
    "prompt": "Field with the prompt, question or instruction.",
    "response": "Field with the response, completion, answer or output.",
    "chosen": "Field with the preferred side.",
    "rejected": "Field with the other side.",
    "system": "Field with the system prompt.",
    "text": "Field with a whole text: a conversation in hh style, or plain text.",
}

reading_key_options = option_group(
    click.option(
        "--format",
        metavar="NAME",
        # Written out, as the list in audit.schema comes with pyarrow, which help does not load.
        help="Record family: chat, prompt_completion, preference, sharegpt, alpaca, qa, hh or text "
        "(`persona-audit formats` shows them). Default: detected over the first rows and said aloud.",
    ),
    click.option("--split", metavar="NAME", help="Split of a hub dataset or of a save_to_disk directory."),
    *(click.option(f"--{role}-key", metavar="FIELD", help=words) for role, words in _ROLES.items()),
)

reading_options = option_group(
    reading_key_options,
    click.option(
        "--turns",
        type=click.Choice(["all", "last"]),
        default="all",
        show_default=True,
        help="Assistant turns of a record that are scored.",
    ),
    click.option("--limit", type=int, metavar="N", help="Scan only the first N records."),
    click.option(
        "--keep-columns",
        multiple=True,
        metavar="A,B",
        help="Scalar fields of the records to carry into the relation samples.",
    ),
    click.option("--strict", is_flag=True, help="Stop at the first record that cannot be read."),
)

model_options = option_group(
    click.option("--model", metavar="PATH_OR_ID", help="Model to audit with. Default: the bundled demo model."),
    click.option("--revision", metavar="REV", help="Revision of a model from the hub."),
    click.option("--adapter", metavar="PATH", help="LoRA or other peft adapter on top of the model."),
    click.option("--dtype", metavar="TYPE", default="auto", show_default=True, help="float32, bfloat16 or float16."),
    click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps."),
    click.option("--device-map", metavar="MAP", help="`auto` spreads a large model over several devices."),
)

scoring_options = option_group(
    click.option(
        "--vectors",
        multiple=True,
        metavar="PATH",
        help="Persona vectors: files or directories. Can be repeated. Default: the demo model's own, or those of the "
        "model that `vectors add` keeps.",
    ),
    click.option("--traits", multiple=True, metavar="A,B", help="Score these traits only."),
    click.option(
        "--orthogonal",
        is_flag=True,
        help="Score each trait along what its vector does not share with those of the other traits.",
    ),
    click.option(
        "--evidence",
        metavar="LEVEL",
        default="full",
        show_default=True,
        help="What each response would teach, beside what it looks like: full; score (a third of the cost, for the "
        "dataset as a whole); off (only the first blocks of the model are run). prompt, alone or behind a comma "
        "(full,prompt), adds likelihoods under the traits' system prompts.",
    ),
    click.option("--layer", type=int, metavar="N", help="Score at this block instead of the vector's own."),
    click.option(
        "--baseline",
        metavar="KIND",
        default="auto",
        show_default=True,
        help="What a response is compared with: generate (the model's own answer); auto (the same where it can change "
        "a flag, predicted elsewhere, from 5,000 distinct prompts on); prompt (cheap); none; or FILE with ready "
        "answers.",
    ),
    click.option(
        "--baseline-by",
        type=click.Choice(["prompt", "position"]),
        default="prompt",
        show_default=True,
        help="How rows of a baseline FILE are matched.",
    ),
    click.option(
        "--baseline-samples",
        type=int,
        default=0,
        show_default=True,
        metavar="K",
        help="Compare with the mean over K answers drawn at temperature 1 (2 to 64), which gives each score a standard "
        "error and costs K answers a prompt. 0: one greedy answer.",
    ),
    click.option(
        "--baseline-server",
        metavar="URL",
        help="OpenAI-compatible server (vLLM, SGLang, llama.cpp, ...) that generates the model's own answers. "
        "A key is read from PERSONA_AUDIT_API_KEY or OPENAI_API_KEY.",
    ),
    click.option("--baseline-server-model", metavar="NAME", help="The model's name on that server."),
    click.option(
        "--baseline-server-concurrency",
        type=int,
        default=16,
        show_default=True,
        metavar="N",
        help="Requests to that server at once.",
    ),
    click.option(
        "--baseline-server-timeout",
        type=float,
        default=300,
        show_default=True,
        metavar="S",
        help="Seconds that one answer of that server may take.",
    ),
    click.option("--no-cache", is_flag=True, help="Neither use nor fill the cache of the model's own answers."),
    click.option(
        "--reference",
        metavar="RUN|DATASET",
        help="Clean data that scores are held against: a finished run of it, or a dataset, which is scanned first.",
    ),
    click.option(
        "--flag",
        metavar="RULE",
        default="fdr:0.05",
        show_default=True,
        help="Rule that flags records: fdr:SHARE of false ones among them, quantile:PERCENT of clean ones (published: "
        "95), top-k:NUMBER, absolute:SCORE. On a finished run it is applied anew; nothing is scored again.",
    ),
    click.option("--nll", is_flag=True, help="Measure the loss of every response, not only of a probe."),
)

limit_options = option_group(
    click.option(
        "--max-new-tokens",
        type=int,
        default=256,
        show_default=True,
        metavar="N",
        help="Longest generated baseline, in tokens.",
    ),
    click.option("--max-tokens", type=int, metavar="N", help="Longest prompt and response. Default: the context."),
    click.option(
        "--batch-tokens", type=int, default=8192, show_default=True, metavar="N", help="Most tokens in a forward pass."
    ),
    click.option("--shard-rows", type=int, default=1000, show_default=True, metavar="N", help="Most rows in a part."),
    click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of everything random."),
)


def make_gate_options(passed_by: str, examples: str) -> Callable[[Command], Command]:
    """Return the options of a gate: what passes a limit, and examples of limits."""
    return option_group(
        click.option(
            "--fail-on",
            multiple=True,
            metavar="EXPR",
            help=f"Exit 1 when {passed_by} passes this limit: {examples}. Can be repeated; any one suffices.",
        ),
        click.option(
            "--allow-undecided", is_flag=True, help="With --fail-on: do not count what could not be judged as passed."
        ),
    )


gate_options = make_gate_options(
    "the run",
    "risk, watch, evil=watch, 'flagged>5%', 'evil.cohens_d>0.4', \"verdict.evil == 'risk' or flagged_share > 0.02\"",
)
comparison_gate_options = make_gate_options(
    "the comparison", "worsened, is_different, 'n_newly_flagged>0', \"drift.evil > 0.2 and verdict_b.evil != 'clear'\""
)
