"""The grammar of limits: a text becomes a small tree of names, constants, comparisons, `and`, `or` and `not`.

Written as Python writes conditions, and read by Python's own parser; but only the nodes listed here are let through,
the tree is never compiled, and text and tree are bounded. So a hostile text is an error and nothing else.

    condition  = condition "and" | "or" condition | "not" condition | "(" condition ")" | comparison | name
    comparison = operand (op operand)+ | name ["not"] "in" "(" constant, … ")"
    op         = "==" | "!=" | "<" | "<=" | ">" | ">="
    operand    = name | constant
    name       = word | word "." word
    constant   = number | number "%" | 'text'
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audit.errors import ConfigError

MAX_CHARS = 1000
MAX_DEPTH = 20
EXAMPLES = (
    "examples: risk, 'flagged>5%', \"verdict.evil == 'risk' or flagged_share > 0.02\", "
    "\"verdict.evil >= 'watch' and evil.cohens_d > 0.3\""
)

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_PERCENT = re.compile(r"""('[^'\\]*'|"[^"\\]*")|(?<![\w.])(\d+(?:\.\d*)?|\.\d+)\s*%""")


@dataclass(frozen=True, slots=True)
class Name:
    """What is asked of a run: one word, or two parted by a dot."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, or the text of a verdict."""

    value: float | str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands and one operator, at least one of them a name."""

    left: Name | Constant
    operator: str
    right: Name | Constant


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary of a condition."""

    inner: Tree


@dataclass(frozen=True, slots=True)
class AllOf:
    """Conditions joined by `and`; a chain of comparisons is one, too."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Conditions joined by `or`."""

    parts: tuple[Tree, ...]


Tree = Name | Comparison | Not | AllOf | AnyOf


def read_tree(text: str) -> Tree:
    """Read an expression; which names there are is not known here.

    Raises:
        ConfigError: with what was found, where, and what can be written.
    """
    if len(text) > MAX_CHARS:
        raise ConfigError("--fail-on", f"is {len(text):,} characters long", f"at most {MAX_CHARS:,} are read")
    try:
        with warnings.catch_warnings():
            # The parser warns of what it thinks odd in a program.
            warnings.simplefilter("ignore")
            body = ast.parse(_write_percents(text.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refuse(text, _guess(text)) from None
    return _condition(body, text, 0)


def walk_comparisons(tree: Tree) -> Iterator[Name | Comparison]:
    """Yield the conditions that a tree is made of: comparisons, and names that stand for themselves."""
    if isinstance(tree, (Name, Comparison)):
        yield tree
    elif isinstance(tree, Not):
        yield from walk_comparisons(tree.inner)
    else:
        for part in tree.parts:
            yield from walk_comparisons(part)


def map_comparisons(tree: Tree, change: Callable[[Name | Comparison], Tree]) -> Tree:
    """Return the tree with each of the conditions that it is made of replaced by what `change` makes of it."""
    if isinstance(tree, (Name, Comparison)):
        return change(tree)
    if isinstance(tree, Not):
        return Not(map_comparisons(tree.inner, change))
    return type(tree)(tuple(map_comparisons(part, change) for part in tree.parts))


def _write_percents(text: str) -> str:
    return _PERCENT.sub(lambda found: found[1] or repr(float(found[2]) / 100), text)


def _guess(text: str) -> str:
    if re.search(r"(?<![=<>!])=(?!=)", text):
        return "is no condition; == compares"
    if re.search(r"&&|\|\||!(?!=)", text):
        return "is no condition; write and, or, not"
    return "is no limit"


def _condition(node: ast.expr, text: str, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise _refuse(text, f"is nested more than {MAX_DEPTH} deep")
    if isinstance(node, ast.BoolOp):
        parts = tuple(_condition(value, text, depth + 1) for value in node.values)
        return AllOf(parts) if isinstance(node.op, ast.And) else AnyOf(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return Not(_condition(node.operand, text, depth + 1))
    if isinstance(node, ast.Compare):
        return _comparison(node, text)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _name(node, text)
    raise _refuse(text, f"{_show(node, text)} is no condition")


def _comparison(node: ast.Compare, text: str) -> Tree:
    if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        return _membership(node, text)
    operands = [_operand(operand, text) for operand in (node.left, *node.comparators)]
    links: list[Tree] = []
    for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
        if type(operator) not in _COMPARISONS:
            raise _refuse(text, "compares in a way that is not known; == != < <= > >= and in are")
        if isinstance(left, Constant) and isinstance(right, Constant):
            raise _refuse(text, f"compares {left.value!r} with {right.value!r}, which says nothing of the run")
        links.append(Comparison(left, _COMPARISONS[type(operator)], right))
    return links[0] if len(links) == 1 else AllOf(tuple(links))


def _membership(node: ast.Compare, text: str) -> Tree:
    (choices,) = node.comparators
    if not isinstance(choices, (ast.Tuple, ast.List, ast.Set)) or not choices.elts:
        raise _refuse(text, "in needs values in brackets, such as ('watch', 'risk')")
    if not isinstance(node.left, (ast.Name, ast.Attribute)):
        raise _refuse(text, "in needs a name before it")
    left = _name(node.left, text)
    found = AnyOf(tuple(Comparison(left, "==", _constant(choice, text)) for choice in choices.elts))
    return Not(found) if isinstance(node.ops[0], ast.NotIn) else found


def _operand(node: ast.expr, text: str) -> Name | Constant:
    return _name(node, text) if isinstance(node, (ast.Name, ast.Attribute)) else _constant(node, text)


def _name(node: ast.Name | ast.Attribute, text: str) -> Name:
    if isinstance(node, ast.Name):
        return Name((node.id,))
    if isinstance(node.value, ast.Name):
        return Name((node.value.id, node.attr))
    raise _refuse(text, f"{_show(node, text)} is no name; at most one dot is known, as in verdict.evil")


def _constant(node: ast.expr, text: str) -> Constant:
    sign = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign = -sign if isinstance(node.op, ast.USub) else sign
        node = node.operand
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            break
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, str):
            return Constant(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value):
            return Constant(sign * float(value))
    raise _refuse(text, f"{_show(node, text)} is no name, number or verdict in quotes")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _show(node: ast.expr, text: str) -> str:
    """Return the piece of text that a node was read from, or what it is where percentages moved it."""
    piece = ast.get_source_segment(_write_percents(text.strip()), node)
    if piece is None:
        return type(node).__name__
    return repr(piece if len(piece) <= 40 else piece[:39] + "…")


def _refuse(text: str, finding: str) -> ConfigError:
    shown = text if len(text) <= 120 else text[:119] + "…"
    return ConfigError(f"--fail-on {shown!r}", finding, EXAMPLES)
