"""The dataset card beside an export: what it is, what was dropped and why, how to make it again, how to train on it.

Named FILE.card.md; renamed README.md it is the card of the folder that it lies in. Knows the run's manifest and the
receipt; what a trainer needs is told by its own module.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from audit.export.advice import Advice
from audit.export.axolotl import advise_axolotl
from audit.export.convert import Conversion, read_kept
from audit.export.fences import code, fence, prose, quote, shell_word
from audit.export.llamafactory import advise_llamafactory
from audit.export.looks import Look, find_keys, find_kinds
from audit.export.outputs import Output, OutputPlan
from audit.export.receipt import ExportReceipt
from audit.export.saved import ROWS
from audit.export.trl import advise_trl
from audit.samples import Source

_LOOKED_AT = 100
_TRAINERS = (("TRL", advise_trl), ("Axolotl", advise_axolotl), ("LLaMA-Factory", advise_llamafactory))


def write_card(
    run_path: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Source],
    plan: OutputPlan,
    receipt: ExportReceipt,
    kept: bytearray,
) -> bytes:
    """Return the card as Markdown."""
    looks = list(_look_at(sources, plan, kept))
    parts = [
        *_head(looks),
        *_say_what(run_path, manifest, receipt, sources),
        *_say_dropped(manifest, receipt),
        *_say_how(manifest),
        *_say_command(run_path, receipt, plan),
        *_say_limits(manifest, receipt),
        *_say_training(looks),
    ]
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def _look_at(sources: Sequence[Source], plan: OutputPlan, kept: bytearray) -> Iterator[Look]:
    first = 0
    for source, output in zip(sources, plan.outputs, strict=True):
        own = kept[first : first + source.n_records]
        first += source.n_records
        yield _find_look(source, output, own, plan.card.parent)


def _find_look(source: Source, output: Output, kept: bytearray, folder: Path) -> Look:
    target = output.target
    conversion = Conversion(source, target, kept, False, lambda: None)
    kinds = find_kinds(islice(read_kept(conversion), _LOOKED_AT))
    shape = target.shape or source.format
    delimiter = (source.delimiter if target.is_copy else target.delimiter) if target.container in ("csv", "tsv") else ""
    return Look(
        file=Path(os.path.relpath(output.path, folder)).as_posix(),
        container=target.container,
        delimiter=delimiter,
        is_directory=target.is_directory,
        shape=shape,
        keys=find_keys(source, shape, kinds, is_converted=target.shape is not None),
        kinds=kinds,
    )


def _head(looks: Sequence[Look]) -> Iterator[str]:
    """Yield the lines that make `load_dataset` of the folder work; one configuration per record shape."""
    lines = ["---", "configs:"]
    # A folder is read by one builder, so files of another container are left to be read by name.
    readable = [look for look in looks if look.container == looks[0].container]
    for number, shape in enumerate(dict.fromkeys(look.shape for look in readable)):
        lines += [f"- config_name: {shape if number else 'default'}", "  data_files:", "  - split: train", "    path:"]
        for look in readable:
            if look.shape == shape:
                # The name is taken as a pattern.
                name = glob.escape(look.file) + (f"/{ROWS}" if look.is_directory else "")
                lines.append(f"    - {quote(name)}")
    yield "\n".join([*lines, "---"])


def _say_what(
    run_path: Path, manifest: Mapping[str, Any], receipt: ExportReceipt, sources: Sequence[Source]
) -> Iterator[str]:
    yield f"# {prose(Path(receipt.manifest).name.removesuffix('.manifest.json'))}"
    yield (
        f"{receipt.n_kept:,} of {receipt.n_records:,} records of a fine-tuning dataset, kept by persona-audit "
        f"{prose(str(manifest['tool_version']))} from the run {code(str(run_path))}."
    )
    form = f"converted to {' and '.join(receipt.formats)}" if receipt.formats else "as they were in the input"
    extra = ", with a field `persona_audit` that holds status and scores" if receipt.is_annotated else ""
    yield f"The records are {form}{extra}."
    yield "## Inputs"
    yield "\n".join(
        f"- {code(source.path)}: {source.n_records:,} records, {prose(source.description)}, sha256 `{source.sha256}`"
        for source in sources
    )


def _say_dropped(manifest: Mapping[str, Any], receipt: ExportReceipt) -> Iterator[str]:
    yield "## What was dropped, and why"
    if receipt.undecided:
        yield f"**Undecided:** {prose(receipt.undecided)}."
    by_flags = receipt.condition == "flagged IS NOT TRUE"
    lines = [f"- kept: {receipt.n_kept:,}"]
    if by_flags:
        lines.append(f"- flagged: {receipt.n_flagged:,}")
        lines += [f"  - {code(trait)}: {count:,}" for trait, count in receipt.flagged_by_trait.items()]
    else:
        lines.append(f"- do not satisfy {code(receipt.condition)}: {receipt.n_flagged:,}")
    where_to = "kept all the same" if receipt.keeps_unscored else "dropped"
    lines.append(f"- could not be scored ({where_to}): {sum(receipt.n_unscored.values()):,}")
    lines += [f"  - {code(reason)}: {count:,}" for reason, count in receipt.n_unscored.items()]
    yield "\n".join(lines)
    yield f"{code(Path(receipt.manifest).name)} names every dropped record with its reason, and the hash of every file."
    if manifest["verdicts"]:
        yield "## Verdicts on the whole input"
        yield "\n".join(
            f"- {code(str(row['trait']))}: **{prose(str(row['verdict']))}**, {prose(str(row['reason']))}"
            for row in manifest["verdicts"]
        )


def _say_how(manifest: Mapping[str, Any]) -> Iterator[str]:
    model, baseline = manifest["model"], manifest["baseline"]
    revision = f", revision {code(str(model['revision']))}" if model.get("revision") else ""
    yield "## How it was scored"
    lines = [
        f"- model: {code(str(model['id']))}{revision}, {prose(str(model['dtype']))}",
        f"- fingerprint of the model: {code(str(model['fingerprint']))}",
        f"- baseline: {code(str(baseline['kind']))}",
    ]
    lines += [
        f"- vector {code(str(vector['trait']))}: layer {vector['layer']}, sha256 `{prose(str(vector['sha256']))}`"
        for vector in manifest["vectors"]
    ]
    yield "\n".join(lines)


def _say_command(run_path: Path, receipt: ExportReceipt, plan: OutputPlan) -> Iterator[str]:
    whole = plan.outputs[0].path if len(plan.outputs) == 1 else Path(str(plan.manifest).removesuffix(".manifest.json"))
    words = ["persona-audit", "export", str(run_path), "--output", str(whole)]
    if receipt.condition != "flagged IS NOT TRUE":
        words += ["--where", receipt.condition]
    for name in receipt.formats:
        words += ["--format", name]
    words += ["--keep-skipped"] if receipt.keeps_unscored else []
    words += ["--annotate"] if receipt.is_annotated else []
    if plan.rejected:
        other = plan.rejected[0].path
        words += ["--rejected", str(other if len(plan.rejected) == 1 else other.parent)]
    yield "## Make it again"
    yield fence("sh", " ".join(shell_word(word) for word in words))


def _say_limits(manifest: Mapping[str, Any], receipt: ExportReceipt) -> Iterator[str]:
    yield "## Limits"
    lines = [
        "- A flag means that a record scores above the 95th percentile of a clean reference: about one clean record in "
        "twenty is flagged per trait, and a record that is not flagged is not proven harmless.",
        "- Scores are those of one model and its vectors; another model may be moved by other records.",
    ]
    lines += [f"- {prose(str(notice))}." for notice in manifest["notices"]]
    if receipt.n_unannotated:
        lines.append(f"- {receipt.n_unannotated:,} records could not be read, hence have no `persona_audit`.")
    if receipt.n_left_out:
        lines.append(f"- {receipt.n_left_out:,} rejected records could not be converted and are in no file.")
    yield "\n".join(lines)


def _say_training(looks: Sequence[Look]) -> Iterator[str]:
    yield "## Train on it"
    yield "Paths are seen from the folder of this card."
    for look in looks[:1] if len({(look.shape, look.container) for look in looks}) == 1 else looks:
        if len(looks) > 1:
            yield f"### {code(look.file)}"
        for name, advise in _TRAINERS:
            yield f"{'####' if len(looks) > 1 else '###'} {name}"
            yield from _say_advice(advise(look))


def _say_advice(advice: Advice) -> Iterator[str]:
    for language, text in advice.blocks:
        yield fence(language, text)
    if advice.notes:
        yield "\n".join(f"- {note}" for note in advice.notes)
