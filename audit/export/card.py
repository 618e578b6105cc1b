"""The dataset card beside an export: what it is, what was dropped and why, how to make it again, how to train on it.

Named FILE.card.md; renamed README.md it is the card of the folder that it lies in. Knows the run's manifest and the
receipt; what a trainer needs is told by its own module.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from audit.export.advice import Advice, say_encoding
from audit.export.axolotl import advise_axolotl
from audit.export.convert import Conversion, read_kept
from audit.export.fences import code, fence, prose, quote, shell_word
from audit.export.formats import SUFFIXES, split_suffix
from audit.export.llamafactory import advise_llamafactory
from audit.export.looks import Look, find_keys, find_kinds, find_numeric, find_roles, join_looks
from audit.export.outputs import Output, OutputPlan
from audit.export.receipt import ExportReceipt
from audit.export.saved import ROWS
from audit.export.trl import BUILDERS, advise_trl
from audit.samples import Source

_LOOKED_AT = 100
_DROPPED = {
    "judged": "a judge finds a trait in them",
    "both": "flagged for a trait that a judge finds in them, too",
    "either": "flagged, or a judge finds a trait in them",
}
_TRAINERS = (("TRL", advise_trl), ("Axolotl", advise_axolotl), ("LLaMA-Factory", advise_llamafactory))


def write_card(
    run_path: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Source],
    plan: OutputPlan,
    receipt: ExportReceipt,
    kept: bytearray,
    judged: Mapping[str, Any],
) -> bytes:
    """Return the card as Markdown.

    Args:
        judged: per trait, who judged it and how, where a judge had a part in the choice.
    """
    looks = join_looks(_look_at(sources, plan, kept))
    parts = [
        *_head(looks),
        *_say_what(run_path, manifest, receipt, sources),
        *_say_dropped(manifest, receipt),
        *_say_how(manifest, judged),
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
        # Of a file without records no reader knows columns.
        if any(own):
            yield _find_look(source, output, own, plan.card.parent)


def _find_look(source: Source, output: Output, kept: bytearray, folder: Path) -> Look:
    target = output.target
    conversion = Conversion(source, target, kept, False, lambda: None)
    records = list(islice(read_kept(conversion), _LOOKED_AT))
    kinds = find_kinds(records)
    shape = target.shape or source.format
    keys = find_keys(source, shape, kinds, is_converted=target.shape is not None)
    is_cells = target.container in ("csv", "tsv")
    return Look(
        files=(Path(os.path.relpath(output.path, folder)).as_posix(),),
        container=target.container,
        delimiter=(source.delimiter if target.is_copy else target.delimiter) if is_cells else "",
        encoding=source.encoding if target.is_copy else "utf-8",
        is_directory=target.is_directory,
        shape=shape,
        keys=keys,
        kinds=kinds,
        roles=find_roles(records, keys.get("messages", "")),
        numeric=find_numeric(records) if is_cells else frozenset(),
    )


def _head(looks: Sequence[Look]) -> Iterator[str]:
    """Yield the lines that make `load_dataset` of the folder work; one configuration per form of records."""
    readable = _find_loadable(looks)
    if not readable:
        return
    lines = ["---", "configs:"]
    taken: list[str] = []
    for look in readable:
        name, number = look.shape if taken else "default", 2
        while name in taken:
            name, number = f"{look.shape}-{number}", number + 1
        taken.append(name)
        lines += [f"- config_name: {name}", "  data_files:", "  - split: train", "    path:"]
        # The name is taken as a pattern.
        paths = [glob.escape(file) + (f"/{ROWS}" if look.is_directory else "") for file in look.files]
        lines += [f"    - {quote(path)}" for path in paths]
        if look.is_cells:
            lines += [f"  sep: {quote(look.delimiter)}", "  keep_default_na: false"]
    yield "\n".join([*lines, "---"])


def _find_loadable(looks: Sequence[Look]) -> list[Look]:
    """Return those that `load_dataset` of their folder can read: one builder reads all, chosen by the suffix."""
    fitting = [look for look in looks if not _is_utf16(look) and (look.is_directory or _fits_suffix(look))]
    builders = [BUILDERS.get(look.container, "json") for look in fitting]
    return [look for look, builder in zip(fitting, builders, strict=True) if builder == builders[0]]


def _fits_suffix(look: Look) -> bool:
    _, suffix, _ = split_suffix(look.files[0])
    container = SUFFIXES.get(suffix)
    return container is not None and BUILDERS.get(container, "json") == BUILDERS.get(look.container, "json")


def _is_utf16(look: Look) -> bool:
    return look.encoding.startswith("utf-16")


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
    if receipt.dropped_columns:
        names = ", ".join(code(name) for name in receipt.dropped_columns)
        yield f"The conversion has no place for these fields of the inputs, and nothing of them is here: {names}."
    yield "## Inputs"
    yield "\n".join(
        f"- {code(source.path)}: {source.n_records:,} records, {prose(source.description)}, sha256 `{source.sha256}`"
        for source in sources
    )


def _say_dropped(manifest: Mapping[str, Any], receipt: ExportReceipt) -> Iterator[str]:
    yield "## What was dropped, and why"
    if receipt.undecided:
        yield f"**Undecided:** {prose(receipt.undecided)}."
    lines = [f"- kept: {receipt.n_kept:,}"]
    if receipt.drop == "flagged":
        lines.append(f"- flagged: {receipt.n_flagged:,}")
        lines += [f"  - {code(trait)}: {count:,}" for trait, count in receipt.flagged_by_trait.items()]
    elif receipt.drop is not None:
        lines.append(f"- {_DROPPED[receipt.drop]}: {receipt.n_failed:,}")
        lines += [f"  - flagged for {code(trait)}: {count:,}" for trait, count in receipt.flagged_by_trait.items()]
        lines += [f"  - judged to show {code(trait)}: {count:,}" for trait, count in receipt.judged_by_trait.items()]
        lines.append(f"  - flagged and never judged: {receipt.n_never_judged:,}")
    else:
        lines.append(f"- do not satisfy {code(receipt.condition)}: {receipt.n_failed:,}")
        lines.append(f"- flagged in the inputs, whatever the condition says of them: {receipt.n_flagged:,}")
    where_to = "to the rejected file" if receipt.rejected else "dropped"
    where_to = "kept all the same" if receipt.keeps_unscored else where_to
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


def _say_how(manifest: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
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
    lines += [
        f"- judged for {code(trait)}: {code(_name_judge(own))}, from {own['threshold']:g} of 100 on, by the "
        f"specification with sha256 `{prose(str(own['spec_sha256']))}`"
        for trait, own in described.items()
    ]
    yield "\n".join(lines)


def _name_judge(described: Mapping[str, Any]) -> str:
    model = described["judge"].get("model")
    return f"{described['name']}: {model}" if model else str(described["name"])


def _say_command(run_path: Path, receipt: ExportReceipt, plan: OutputPlan) -> Iterator[str]:
    whole = plan.outputs[0].path if len(plan.outputs) == 1 else Path(str(plan.manifest).removesuffix(".manifest.json"))
    words = ["persona-audit", "export", str(run_path), "--output", str(whole)]
    if receipt.drop is None:
        words += ["--where", receipt.condition]
    elif receipt.drop != "flagged":
        words += ["--drop", receipt.drop]
    for name in receipt.formats:
        words += ["--format", name]
    words += ["--keep-skipped"] if receipt.keeps_unscored else []
    words += ["--annotate"] if receipt.is_annotated else []
    if plan.rejected:
        other = plan.rejected[0].path
        words += ["--rejected", str(other if len(plan.rejected) == 1 else other.parent)]
    yield "## Make it again"
    yield fence("sh", " ".join(shell_word(word) for word in words))
    yield "Where these files still lie, it wants another name, or `--force` to replace them."


def _say_limits(manifest: Mapping[str, Any], receipt: ExportReceipt) -> Iterator[str]:
    yield "## Limits"
    lines = [
        "- A flag means that a record scores above the 95th percentile of a clean reference: about one clean record in "
        "twenty is flagged per trait, and a record that is not flagged is not proven harmless.",
        "- Scores are those of one model and its vectors; another model may be moved by other records.",
    ]
    lines += [f"- {prose(_to_sentence(str(notice)))}." for notice in manifest["notices"]]
    if receipt.n_unannotated:
        lines.append(f"- {receipt.n_unannotated:,} records could not be read, hence have no `persona_audit`.")
    if receipt.n_left_out:
        lines.append(f"- {receipt.n_left_out:,} rejected records could not be converted and are in no file.")
    yield "\n".join(lines)


def _to_sentence(notice: str) -> str:
    """Return what the scan said as a sentence, without the option that a bracket at its end names."""
    bare = re.sub(r"\s*\([^()]*--[^()]*\)$", "", notice)
    return bare[:1].upper() + bare[1:] if re.match("[a-z]+ ", bare) else bare


def _say_training(looks: Sequence[Look]) -> Iterator[str]:
    yield "## Train on it"
    if not looks:
        yield "Nothing was kept, so there is nothing to train on."
        return
    yield "Paths are seen from the folder of this card."
    readable = _find_loadable(looks)
    unread = [code(file) for look in looks if look not in readable for file in look.files]
    if unread:
        yield (
            f"`load_dataset` of the folder does not find {', '.join(unread)}: it reads UTF-8 in files of one kind "
            "whose suffix says what they hold."
        )
    if any(look.suffix == ".zst" for look in looks):
        yield "Trainers read `.zst` through `datasets`, which needs a package for it: `pip install zstandard`."
    for look in looks:
        if len(looks) > 1:
            yield f"### {', '.join(code(file) for file in look.files)}"
        for name, advise in _TRAINERS:
            yield f"{'####' if len(looks) > 1 else '###'} {name}"
            yield from _say_advice(say_encoding(name, look.container) if _is_utf16(look) else advise(look))


def _say_advice(advice: Advice) -> Iterator[str]:
    for language, text in advice.blocks:
        yield fence(language, text)
    if advice.notes:
        yield "\n".join(f"- {note}" for note in advice.notes)
