"""The check: every row of the files, its facts, the rules that hold for it, and the sum.

Knows the order of work. Does not know what a rule is about, nor how a result is shown.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from audit.errors import ConfigError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.preflight.facts import RowFacts, read_facts, read_null_facts
from audit.preflight.finding import EFFECTS, Finding, Preflight, TrainerReport
from audit.preflight.load_table import TableLoader
from audit.preflight.loading import open_loader
from audit.preflight.rows import OpenedSource, open_source, read_rows, rename
from audit.preflight.tally import Bucket, Code, Tally
from audit.preflight.trainer import Trainer
from audit.preflight.trainers import choose_trainers
from audit.samples.decode import Unreadable
from audit.samples.families import load_families
from audit.samples.locate import STDIN, locate_datasets
from audit.samples.source import Source

STAGE = "check"
_ADVANCE_ROWS = 5_000
NOT_JUDGED = "not_judged"
"""Stands among the codes of a row whose family a trainer has no rules for."""

_MOST_KINDS = 20_000
"""Kinds of rows whose verdict is remembered; beyond, the rules run again."""


class _Judge:
    """Applies the rules of all trainers to the rows of one file, once per kind of row."""

    def __init__(self, trainers: Sequence[Trainer], source: Source, loader: TableLoader, tally: Tally) -> None:
        self._trainers = trainers
        self._tally = tally
        self._judging = tuple(each for each in trainers if source.format in each.families)
        self._of_file = self._judge_file(source, loader)
        self._buckets: dict[RowFacts, Bucket] = {}

    def judge(self, facts: RowFacts) -> Bucket:
        """Return the bucket of a row of such facts."""
        bucket = self._buckets.get(facts)
        if bucket is None:
            bucket = self._tally.bucket(self._of_file + self._find(facts))
            if len(self._buckets) < _MOST_KINDS:
                self._buckets[facts] = bucket
        return bucket

    def judge_unreadable(self, codes: Sequence[str], facts: RowFacts | None = None) -> Bucket:
        """Return the bucket of a row that cannot be read: codes of loading, and facts of what it loads as."""
        own = () if facts is None else self._find(facts)
        return self._tally.bucket(self._of_file + self._share(codes) + own, is_readable=False)

    def join(self, codes: Sequence[str], bucket: Bucket) -> Bucket:
        """Return the bucket of a row that meets codes of loading, too."""
        return self._tally.bucket(self._share(codes) + bucket.codes)

    def _find(self, facts: RowFacts) -> tuple[Code, ...]:
        return tuple((each.name, code) for each in self._judging for code in dict.fromkeys(each.find(facts)))

    def _share(self, codes: Sequence[str]) -> tuple[Code, ...]:
        return tuple((each.name, code) for each in self._trainers for code in codes)

    def _judge_file(self, source: Source, loader: TableLoader) -> tuple[Code, ...]:
        not_judged = tuple((each.name, NOT_JUDGED) for each in self._trainers if each not in self._judging)
        if source.files:
            return not_judged
        path = PurePath(source.path)
        own = tuple((each.name, code) for each in self._trainers for code in each.find_in_file(path))
        return not_judged + own + self._share(loader.of_file)


class _Counts:
    """What is counted besides codes."""

    def __init__(self) -> None:
        self.n_other_shape = 0
        self.n_unreadable: Counter[str] = Counter()


def check_datasets(
    paths: Sequence[str],
    *,
    trainer: str | None = None,
    format: str | None = None,
    keys: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    listener: Listener = ignore_events,
) -> Preflight:
    """Read the rows of dataset files and find those that a trainer would drop, crash on or train on by surprise.

    Memory does not grow with the files. `keys` names the user's fields by role; rows are judged as though the trainer
    had been told of them. `limit` counts rows of all files together.

    Raises:
        ConfigError: an unknown trainer or format, a limit below 1, or a file named twice.
        MissingDataError, DataError: a file is missing, broken off, or holds nothing that is known.
    """
    if limit is not None and limit < 1:
        raise ConfigError("--limit", f"{limit} is not positive", "leave it out to check every row")
    trainers = choose_trainers(trainer)
    if STDIN in paths:
        raise ConfigError("DATASET", "standard input cannot be checked", "save it to a file first")
    located = locate_datasets(paths)
    _refuse_twice(located)
    opened = [open_source(path, format=format, keys=keys, split=split, limit=limit) for path in located]
    of_files = ((each.name, rule.code) for each in trainers for rule in each.rules.values() if rule.place == "file")
    tally, counts = Tally(frozenset(of_files)), _Counts()
    known = [each.n_rows for each in opened]
    total = limit if None in known else min(sum(n or 0 for n in known), limit or 1 << 62)
    listener(StageStarted(STAGE, None if None in known else total))
    for each in opened:
        left = None if limit is None else limit - tally.n_rows
        if left is None or left > 0:
            _check_file(each, left, trainers, tally, counts, listener)
    listener(StageFinished(STAGE))
    return _sum_up(opened, trainers, tally, counts)


def _refuse_twice(paths: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in paths:
        other = first.setdefault(os.path.realpath(path), path)
        if other is not path:
            finding = "is named twice" if other == path else f"is the same file as {other}"
            raise ConfigError("DATASET", f"{path} {finding}, and its rows would count twice", "name it once")


def _check_file(
    opened: OpenedSource,
    limit: int | None,
    trainers: Sequence[Trainer],
    tally: Tally,
    counts: _Counts,
    listener: Listener,
) -> None:
    source = opened.source
    family = load_families()[source.format]
    loader = open_loader(source)
    judge = _Judge(trainers, source, loader, tally)
    n_seen = n_told = 0
    for n_seen, (line, offset, raw, fields) in enumerate(read_rows(opened, limit), start=1):
        if isinstance(fields, Unreadable):
            counts.n_unreadable[fields.reason.partition(":")[0]] += 1
            codes = loader.find_in_unreadable(fields, raw, n_seen - 1)
            bucket = judge.judge_unreadable(codes or (), read_null_facts(family.name) if codes is None else None)
        else:
            record = rename(fields, source)
            counts.n_other_shape += not family.fits(record)
            loaded = loader.load(fields)
            facts = read_facts(record if loaded is fields else rename(loaded, source), family.name)
            bucket = judge.judge(facts)
            found = loader.find(fields, offset, raw, facts.thread.keys if facts.thread.is_plain else "")
            bucket = judge.join(found, bucket) if found else bucket
        tally.add(bucket, source.path, line)
        if n_seen - n_told == _ADVANCE_ROWS:
            listener(StageAdvanced(STAGE, _ADVANCE_ROWS))
            n_told = n_seen
    if n_seen > n_told:
        listener(StageAdvanced(STAGE, n_seen - n_told))


def _sum_up(opened: Sequence[OpenedSource], trainers: Sequence[Trainer], tally: Tally, counts: _Counts) -> Preflight:
    counted = [code for trainer in trainers for code in (*_counted_codes(trainer), (trainer.name, NOT_JUDGED))]
    return Preflight(
        files={each.source.path: each.source.description.partition(" (")[0] for each in opened},
        n_rows=tally.n_rows,
        n_clean=tally.count_without(counted),
        n_other_shape=counts.n_other_shape,
        n_unreadable=dict(sorted(counts.n_unreadable.items())),
        trainers=tuple(_report(trainer, tally, opened) for trainer in trainers),
    )


def _counted_codes(trainer: Trainer, effect: str | None = None) -> list[Code]:
    rules = trainer.rules.values()
    return [(trainer.name, rule.code) for rule in rules if not rule.is_default and effect in (None, rule.effect)]


def _report(trainer: Trainer, tally: Tally, opened: Sequence[OpenedSource]) -> TrainerReport:
    not_judged = (trainer.name, NOT_JUDGED)
    n_not_judged = tally.count([not_judged])
    families = dict.fromkeys(each.source.format for each in opened if each.source.format not in trainer.families)
    findings = []
    for rule in trainer.rules.values():
        code = (trainer.name, rule.code)
        n_rows = tally.count([code])
        if n_rows:
            findings.append(Finding(rule, n_rows, n_rows / tally.n_rows, tally.first_lines(code)))
    findings.sort(key=lambda found: (EFFECTS.index(found.rule.effect), found.rule.is_default, -found.n_rows))
    return TrainerReport(
        trainer=trainer.name,
        version=trainer.version,
        assumes=trainer.assumes,
        findings=tuple(findings),
        n_by_effect={effect: tally.count(_counted_codes(trainer, effect)) for effect in EFFECTS},
        n_clean=tally.count_without([*_counted_codes(trainer), not_judged]),
        n_not_judged=n_not_judged,
        not_judged=tuple(families) if n_not_judged else (),
    )
