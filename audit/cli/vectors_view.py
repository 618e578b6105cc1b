"""Persona vectors as JSON and as people read them: a list, one vector with bars per layer, cosines of several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from audit.cli.text import format_number, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.vectors import PersonaVector

_BAR_CHARS = 40
_FEW_NUMBERS = 12


def describe_vector(vector: PersonaVector) -> dict[str, Any]:
    """Return what a file says of its vector, as JSON values, but for details and report."""
    return {
        "trait": vector.trait,
        "path": vector.path,
        "model": vector.model_id,
        "fingerprint": vector.fingerprint.digest if vector.fingerprint else None,
        "layer": vector.layer,
        "n_layers": vector.n_layers,
        "d_hidden": int(vector.vector_ld.shape[1]),
        "purpose": vector.purpose,
        "recipe": vector.recipe,
        "has_report": vector.has_report,
        "sha256": vector.sha256,
    }


def measure_vector(vector: PersonaVector) -> dict[str, Any]:
    """Return details, length per layer and report of a vector's file as JSON values; NaN is null.

    Of an array that is no list, such as the answers that a check needs, type and shape stand for the numbers.
    """
    from audit.vectors import read_report

    report = {
        name: _to_json(array) if array.ndim < 2 else {"dtype": str(array.dtype), "shape": list(array.shape)}
        for name, array in sorted(read_report(vector.path).items())
    }
    return {"details": vector.details, "norms": _norms(vector), "report": report}


def measure_cosines(vectors: Sequence[PersonaVector]) -> list[list[float | None]]:
    """Return the cosines of vectors at the scoring layer of the row's, as JSON values."""
    from audit.vectors import cosine_matrix

    rows: list[list[float | None]] = _to_json(cosine_matrix(vectors))
    return rows


def find_own_auc(vector: PersonaVector) -> float | None:
    """Return the AUC that a vector's report has for its scoring layer; None where there is none."""
    from audit.vectors import find_auc, read_report

    found = find_auc(read_report(vector.path), vector.n_layers) if vector.has_report else None
    value = float(found.auc_l[vector.layer]) if found else math.nan
    return value if math.isfinite(value) else None


def print_list(found: Sequence[PersonaVector], aucs: Sequence[float | None]) -> None:
    """Print vectors as a table, one a line."""
    from audit.cli.table_view import render_rows

    names = ("trait", "layer", "of", "norm", "auc", "purpose", "model", "path")
    rows = [
        (v.trait, v.layer, v.n_layers, _norms(v)[v.layer], auc, v.purpose, v.model_id or "unknown", v.path)
        for v, auc in zip(found, aucs, strict=True)
    ]
    click.echo(render_rows(names, rows, cell_chars=None), nl=False)


def print_vector(vector: PersonaVector) -> None:
    """Print all that a file says of its vector, with a bar for every layer."""
    from audit.vectors import read_report

    described = describe_vector(vector)
    details = dict(vector.details)
    curve = details.pop("steering", None)
    described |= {f"  {one_line(str(name))}": _in_words(value) for name, value in details.items()}
    width = max(len(name) for name in described) + 2
    for name, value in described.items():
        click.echo(f"{name:<{width}}{one_line(str(value), 400)}")
    norms = _norms(vector)
    longest = max(norms) or 1.0
    click.echo("norm by layer (* = scoring layer)")
    for layer, norm in enumerate(norms):
        click.echo(f"{_label(vector, layer)} {format_number(norm):>10}  {_bar(norm / longest)}".rstrip())
    for line in _report_lines(vector, read_report(vector.path)):
        click.echo(line)
    for line in _curve_lines(curve):
        click.echo(line)


def print_cosines(vectors: Sequence[PersonaVector]) -> None:
    """Print how alike vectors are, each row at the scoring layer of its own trait."""
    names = [one_line(vector.trait, 20) for vector in vectors]
    labels = [f"{name} ({vector.layer})" for name, vector in zip(names, vectors, strict=True)]
    first, width = max(map(len, labels)), max(6, *map(len, names))
    click.echo("cosine, each row at its own scoring layer (in brackets); – where the models differ or a row is zero")
    click.echo(f"  {'':<{first}}  {'  '.join(f'{name:>{width}}' for name in names)}")
    for label, row in zip(labels, measure_cosines(vectors), strict=True):
        cells = (f"{format_number(value, 2, signed=True):>{width}}" for value in row)
        click.echo(f"  {label:<{first}}  {'  '.join(cells)}")


def _report_lines(vector: PersonaVector, report: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    from audit.vectors import find_auc, find_layer_arrays

    arrays = find_layer_arrays(report, vector.n_layers)
    auc = find_auc(report, vector.n_layers)
    if auc is not None:
        drawn = [array for array in (auc.auc_l, auc.low_l, auc.high_l, auc.null_l) if array is not None]
        arrays = {name: array for name, array in arrays.items() if not any(_equals(array, one) for one in drawn)}
        yield "AUC by layer, bars from 0.5 to 1 (its interval in brackets; null: what meaningless directions reach)"
        for layer, value in enumerate(auc.auc_l.tolist()):
            interval = ""
            if auc.low_l is not None and auc.high_l is not None:
                low, high = (format_number(_finite(array[layer])) for array in (auc.low_l, auc.high_l))
                interval = f" [{low:>5}, {high:>5}]"
            null = "" if auc.null_l is None else f"  null {format_number(_finite(auc.null_l[layer])):>5}"
            number = f"{format_number(_finite(value)):>10}{interval}{null}"
            yield f"{_label(vector, layer)} {number}  {_bar(2 * value - 1)}".rstrip()
    if arrays:
        names = [one_line(name) for name in arrays]
        yield "report by layer"
        yield f"       {'  '.join(f'{name:>10}' for name in names)}"
        for layer in range(vector.n_layers + 1):
            cells = (
                f"{format_number(_finite(array[layer])):>{max(10, len(name))}}"
                for name, array in zip(names, arrays.values(), strict=True)
            )
            yield f"{_label(vector, layer)}  {'  '.join(cells)}"
    for name, array in sorted(report.items()):
        if array.shape != (vector.n_layers + 1,):
            shown = _to_json(array) if array.size <= _FEW_NUMBERS else f"{array.dtype} {list(array.shape)}"
            yield f"report  {one_line(name)}: {shown}"


def _curve_lines(curve: Any) -> Iterator[str]:
    """Say what multiples of the vector do to answers, where extraction measured it."""
    if not isinstance(curve, list) or not all(isinstance(point, dict) for point in curve) or not curve:
        return
    yield "steering: share of answers that show the trait, mean score and coherence (0 to 100)"
    for point in curve:
        rate, score, coherence = (point.get(name) for name in ("rate", "score", "coherence"))
        numbers = f"{_number(rate, 2):>6} {_number(score, 1):>6} {_number(coherence, 1):>6}"
        alpha, bar = _number(point.get("alpha"), 1, signed=True), _bar(rate) if isinstance(rate, float) else ""
        yield f"  layer {point.get('layer')!s:>3} {alpha:>5} v {numbers}  {bar}".rstrip()


def _number(value: Any, digits: int, *, signed: bool = False) -> str:
    return format_number(value if isinstance(value, int | float) else None, digits, signed=signed)


def _in_words(value: Any) -> str:
    """Return nested details as one line, without the marks of a programming language."""
    if isinstance(value, dict):
        parts = (f"{name} {_in_words(own)}" for name, own in value.items())
        return (", " if not any(isinstance(own, dict) for own in value.values()) else "; ").join(parts)
    if isinstance(value, list):
        return " to ".join(map(str, value)) if len(value) == 2 else ", ".join(map(_in_words, value))
    return "–" if value is None else str(value)


def _label(vector: PersonaVector, layer: int) -> str:
    return f"  {layer:>3}{'*' if layer == vector.layer else ' '}"


def _bar(share: float) -> str:
    return "▇" * round(_BAR_CHARS * min(max(share, 0.0), 1.0)) if math.isfinite(share) else ""


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _equals(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.tobytes() == other.tobytes()


def _norms(vector: PersonaVector) -> list[float]:
    import numpy as np

    return [float(norm) for norm in np.linalg.norm(vector.vector_ld.astype(np.float64), axis=1)]


def _to_json(array: NDArray[Any]) -> Any:
    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(entry) for entry in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return clean(array.tolist())
