"""Queries: an expression over columns and tags, parsed by a grammar and evaluated with numpy; nothing is ever executed.

    loss > 2 and tag("hard") and not discarded
    `train/loss` > 0.5 or split == "val" and target in (3, 8)

Operators, weakest first: `or`; `and`; `not`; `== != < <= > >=` (may be chained), `in (…)`, `not in (…)`; `+ -`; `* /`;
sign. Functions: see FUNCTIONS. A comparison with a missing value is false. A column whose name is no plain identifier
stands in backticks. A short name stands, of each sample, for the column `/name` of its own split, or for the only
column that ends in `/name`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from importlib import resources
from typing import Any

import numpy as np
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

from weightslab_ledger.edits import Mask
from weightslab_ledger.frame import Frame
from weightslab_ledger.metadata import TextValues

MAX_CHARACTERS = 2000
MAX_DEPTH = 50

_EXPECTED = {
    "NAME": "a column",
    "QUOTED_NAME": "a column",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "COMPARISON": "a comparison",
    "IN": "a comparison",
    "ADDITION": "'+' or '-'",
    "MULTIPLICATION": "'*' or '/'",
    "AND": "'and'",
    "OR": "'or'",
    "NOT": "'not'",
    "$END": "the end",
}


class QueryError(InvalidArgument):
    """A query that cannot be used. `position`: offset of the first wrong character."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(f"query, character {position}: {text}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Operand:
    """A part of a query with its value: float scalar or array, text, texts, or truth values."""

    kind: str
    value: Any
    position: int


@cache
def _parser() -> Lark:
    grammar = (resources.files("weightslab_ledger") / "grammar.lark").read_text()
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def parse(text: str) -> Tree[Token]:
    """The syntax tree of a query. Raises QueryError."""
    if len(text) > MAX_CHARACTERS:
        raise QueryError(MAX_CHARACTERS, f"a query has at most {MAX_CHARACTERS} characters, this one has {len(text)}")
    try:
        return _parser().parse(text)
    except UnexpectedToken as error:
        end = error.token.type == "$END"
        found = "the end" if end else repr(str(error.token))
        raise _unexpected(len(text) if end else error.token.start_pos or 0, found, error.expected) from None
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        found = repr(text[at])
        if text[at] in "\"'`":
            raise QueryError(at, f"the quote {found} is not closed") from None
        hint = "; equality is written `==`" if text[at] == "=" else ""
        raise _unexpected(at, found, error.allowed, hint) from None
    except UnexpectedInput as error:
        raise QueryError(error.pos_in_stream or 0, "this is no query") from None


def _unexpected(position: int, found: str, expected: set[str], hint: str = "") -> QueryError:
    names = sorted({_EXPECTED.get(name, name) for name in expected})
    return QueryError(position, f"found {found} where {' or '.join(names)} was expected{hint}")


def evaluate(text: str, frame: Frame) -> Mask:
    """One bool per row: what of the present dataset a query matches; an empty query matches all. Raises QueryError."""
    if not text.strip():
        return frame.present.copy()
    tree = parse(text)
    with np.errstate(all="ignore"):
        result = _Evaluation(frame).value(tree.children[0], 0)
    if result.kind != "truth":
        raise QueryError(result.position, f"this is {_NOUNS[result.kind]}; a query must be true or false of a sample")
    return np.broadcast_to(result.value, frame.row_count) & frame.present


_NOUNS = {"number": "a number", "text": "a text", "texts": "a column of texts", "truth": "true or false"}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
# Name, and what its arguments must be.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "tag": ("text",),
    "isnan": ("number",),
    "isinf": ("number",),
    "abs": ("number",),
    "between": ("number", "number", "number"),
    "contains": ("texts", "text"),
    "startswith": ("texts", "text"),
    "endswith": ("texts", "text"),
    "lower": ("texts",),
}


class _Evaluation:
    """Walks a tree; each method named after a rule gives the value of that rule."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def value(self, node: Tree[Token] | Token, depth: int) -> Operand:
        assert isinstance(node, Tree)
        position = int(node.meta.start_pos)
        if depth >= MAX_DEPTH:
            raise QueryError(position, f"this is nested deeper than {MAX_DEPTH}")
        rule: Callable[[Tree[Token], int, int], Operand] = getattr(self, "_" + node.data)
        return rule(node, depth + 1, position)

    def _number(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("number", float(str(node.children[0])), position)

    def _signed_number(self, node: Tree[Token], depth: int, position: int) -> Operand:
        sign, number = node.children
        return Operand("number", float(f"{sign}{number}"), position)

    def _text(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("text", re.sub(r"\\(.)", r"\1", str(node.children[0])[1:-1], flags=re.DOTALL), position)

    def _column(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return self._named(str(node.children[0]), position)

    def _quoted_column(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return self._named(str(node.children[0])[1:-1], position)

    def _named(self, name: str, position: int) -> Operand:
        constant = {"true": ("truth", True), "false": ("truth", False), "inf": ("number", np.inf)}.get(name)
        if constant:
            return Operand(constant[0], constant[1], position)
        try:
            values = self._frame.column(name)
        except InvalidArgument as error:
            raise QueryError(position, error.message) from None
        if isinstance(values, TextValues):
            return Operand("texts", values, position)
        return Operand("truth" if values.dtype == bool else "number", values, position)

    def _group(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return self.value(node.children[0], depth)

    def _truths(self, node: Tree[Token], depth: int) -> list[Any]:
        return [self._expect(self.value(child, depth), "truth") for child in node.children]

    def _or_test(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("truth", reduce(np.logical_or, self._truths(node, depth)), position)

    def _and_test(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("truth", reduce(np.logical_and, self._truths(node, depth)), position)

    def _negation(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("truth", np.logical_not(self._truths(node, depth)[0]), position)

    def _chain(self, node: Tree[Token], depth: int, position: int) -> Operand:
        """Numbers joined by operators of one strength, from left to right."""
        result = self._expect(self.value(node.children[0], depth), "number")
        for sign, child in zip(node.children[1::2], node.children[2::2], strict=True):
            result = _ARITHMETIC[str(sign)](result, self._expect(self.value(child, depth), "number"))
        return Operand("number", result, position)

    _sum = _chain
    _product = _chain

    def _sign(self, node: Tree[Token], depth: int, position: int) -> Operand:
        number = self._expect(self.value(node.children[1], depth), "number")
        return Operand("number", np.negative(number) if node.children[0] == "-" else number, position)

    def _compare(self, node: Tree[Token], depth: int, position: int) -> Operand:
        operands = [self.value(child, depth) for child in node.children[::2]]
        signs = [str(sign) for sign in node.children[1::2]]
        pairs = zip(operands, signs, operands[1:], strict=False)
        truths = [_compared(left, sign, right) for left, sign, right in pairs]
        return Operand("truth", reduce(np.logical_and, truths), position)

    def _member(self, node: Tree[Token], depth: int, position: int) -> Operand:
        subject, *constants = [self.value(child, depth) for child in node.children]
        truths = [_compared(subject, "==", constant) for constant in constants]
        return Operand("truth", reduce(np.logical_or, truths), position)

    def _stranger(self, node: Tree[Token], depth: int, position: int) -> Operand:
        return Operand("truth", np.logical_not(self._member(node, depth, position).value), position)

    def _call(self, node: Tree[Token], depth: int, position: int) -> Operand:
        name = str(node.children[0])
        wanted = FUNCTIONS.get(name)
        if wanted is None:
            raise QueryError(position, f"there is no function {name!r}; there are: {', '.join(sorted(FUNCTIONS))}")
        operands = [self.value(child, depth) for child in node.children[1:]]
        if len(operands) != len(wanted):
            raise QueryError(
                position, f"{name} takes {len(wanted)} arguments ({', '.join(wanted)}), not {len(operands)}"
            )
        arguments = [self._expect(operand, kind) for operand, kind in zip(operands, wanted, strict=True)]
        kind = {"abs": "number", "lower": "texts"}.get(name, "truth")
        return Operand(kind, self._called(name, arguments), position)

    def _called(self, name: str, arguments: list[Any]) -> Any:
        match name:
            case "tag":
                return self._frame.tag(arguments[0])
            case "isnan":
                return np.isnan(arguments[0])
            case "isinf":
                return np.isinf(arguments[0])
            case "abs":
                return np.abs(arguments[0])
            case "between":
                return (arguments[0] >= arguments[1]) & (arguments[0] <= arguments[2])
            case "lower":
                return TextValues(arguments[0].codes, [text.lower() for text in arguments[0].categories])
        texts, part = arguments
        test: dict[str, Callable[[str], bool]] = {
            "contains": lambda text: part in text,
            "startswith": lambda text: text.startswith(part),
            "endswith": lambda text: text.endswith(part),
        }
        return texts.where(test[name])

    @staticmethod
    def _expect(operand: Operand, kind: str) -> Any:
        if operand.kind != kind:
            raise QueryError(operand.position, f"this is {_NOUNS[operand.kind]} where {_NOUNS[kind]} was expected")
        return operand.value


def _compared(left: Operand, sign: str, right: Operand) -> NDArray[np.bool_] | bool | np.bool_:
    """Compare two operands of like kind. Raises QueryError."""
    if left.kind in ("text", "texts") and right.kind in ("text", "texts"):
        if sign not in ("==", "!="):
            raise QueryError(left.position, f"texts can be compared by == and != only, not by {sign}")
        same = _same_text(left, right)
        return same if sign == "==" else np.logical_not(same)
    if left.kind != right.kind:
        raise QueryError(right.position, f"{_NOUNS[right.kind]} cannot be compared with {_NOUNS[left.kind]}")
    if left.kind == "truth" and sign not in ("==", "!="):
        raise QueryError(left.position, f"true and false can be compared by == and != only, not by {sign}")
    result = _COMPARISONS[sign](left.value, right.value)
    if sign == "!=" and left.kind == "number":
        # A missing value is unknown, and so is whether it differs.
        result = result & ~np.isnan(left.value) & ~np.isnan(right.value)
    return result  # type: ignore[no-any-return]


def _same_text(left: Operand, right: Operand) -> NDArray[np.bool_] | bool:
    if left.kind == "text" and right.kind == "text":
        return bool(left.value == right.value)
    if left.kind == "text":
        left, right = right, left
    texts: TextValues = left.value
    if right.kind == "text":
        mask = np.zeros(len(texts.codes), dtype=bool)
        for code in texts.codes_of(right.value):
            mask |= texts.codes == code
        return mask
    number_of: dict[str, int] = {}
    ours = [number_of.setdefault(text, len(number_of)) for text in texts.categories]
    theirs = [number_of.setdefault(text, len(number_of)) for text in right.value.categories]
    return np.asarray(np.asarray(ours)[texts.codes] == np.asarray(theirs)[right.value.codes])
