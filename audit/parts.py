"""The records that no finished part covers, scored block by block and written part by part.

Where a block begins depends on positions alone, and when a part closes on the clock: so a part may end anywhere
between blocks, and a continued run still forms the batches that an undisturbed one forms. While the model computes, a
thread reads and tokenises the next block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import pyarrow as pa

from audit.ahead import iterate_ahead
from audit.config import ScanConfig
from audit.errors import RunError
from audit.events import Listener, PartWritten, StageAdvanced, StageFinished, StageStarted, Warned
from audit.inputs import Inputs, read_range
from audit.shard import BLOCK_ROWS, prepare_block, score_block
from audit.states import ScoringJob
from audit.store import Part, RunStore

PART_SECONDS = 60.0
"""A part is closed at the next block after this much work: what a kill can cost."""


def score_parts(
    store: RunStore,
    manifest: dict[str, Any],
    config: ScanConfig,
    inputs: Inputs,
    job: ScoringJob,
    listener: Listener,
    *,
    n_reused: int,
) -> int:
    """Score every record that no finished part covers and return how many there were."""
    listener(StageStarted("scoring", inputs.n_records, "rows", done=n_reused))
    n_scored = 0
    for start, stop in find_gaps(store.parts(), inputs.n_records):
        records = read_range(
            inputs, start, stop, turns=config.turns, keep_columns=config.keep_columns, strict=config.strict
        )
        pending: list[dict[str, pa.Table]] = []
        part_start, began = start, time.monotonic()
        cuts = list(split_blocks(start, stop, config.shard_rows))
        blocks = (prepare_block(list(islice(records, upto - first)), job) for first, upto in cuts)
        with closing(iterate_ahead(blocks)) as prepared:
            for (_, block_stop), block in zip(cuts, prepared, strict=True):
                scored = score_block(block, job)
                _tell_widened(scored.n_widened, manifest, job, listener)
                pending.append(scored.tables)
                listener(StageAdvanced("scoring", len(block.records)))
                elapsed = time.monotonic() - began
                if block_stop == stop or block_stop % config.shard_rows == 0 or elapsed > PART_SECONDS:
                    part = Part(part_start, block_stop)
                    store.write_part(
                        part, {name: pa.concat_tables([tables[name] for tables in pending]) for name in pending[0]}
                    )
                    manifest["timing"]["scoring"] = manifest["timing"].get("scoring", 0.0) + elapsed
                    store.write_manifest(manifest)
                    listener(PartWritten(part.name, part.n_rows))
                    n_scored += part.n_rows
                    pending, part_start, began = [], block_stop, time.monotonic()
    listener(StageFinished("scoring"))
    return n_scored


def _tell_widened(n_turns: int, manifest: dict[str, Any], job: ScoringJob, listener: Listener) -> None:
    """Count the turns that were scored in float32, and say so at the first of them."""
    if n_turns and not manifest["n_widened_turns"]:
        listener(
            Warned(
                f"the hidden states of some samples are not finite in {job.model.dtype}: these are run again in float32"
            )
        )
    manifest["n_widened_turns"] += n_turns


def find_gaps(parts: list[Part], n_records: int) -> list[tuple[int, int]]:
    """Return the ranges of records that no part covers.

    Raises:
        RunError: a part lies beyond the inputs' end.
    """
    gaps, position = [], 0
    for part in parts:
        if part.start > position:
            gaps.append((position, part.start))
        position = part.stop
    if position > n_records:
        raise RunError(
            "samples", f"a part ends at row {position}, the inputs at {n_records}", "start over with --fresh"
        )
    if position < n_records:
        gaps.append((position, n_records))
    return gaps


def split_blocks(start: int, stop: int, shard_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks of [start, stop): cut at every multiple of `shard_rows`, and every 64 rows from there.

    The cuts depend on positions alone, so a continued run forms the batches that an undisturbed one forms.
    """
    position = start
    while position < stop:
        shard_start = position - position % shard_rows
        inside = position - shard_start
        next_cut = shard_start + min(inside - inside % BLOCK_ROWS + BLOCK_ROWS, shard_rows)
        yield position, min(next_cut, stop)
        position = min(next_cut, stop)
