"""Every small edit of a source file that would be a mistake, found on its syntax tree."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPERATORS: dict[type[ast.AST], str] = {ast.Mult: "factor", ast.BitAnd: "and/or", ast.BitOr: "and/or"}
AXES = ("dim", "axis")
ROUNDINGS = {"floor": "ceil", "ceil": "floor", "round": "floor"}
TYPES = ("bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple")
CLAMPS = ("clamp", "clamp_min", "clamp_max", "clip")
LEAST_DECIMAL = 0.01  # smaller ones are there against a division by 0


@dataclass(frozen=True)
class Edit:
    """Replaces bytes `start:stop` of a file by `text`.

    Attributes:
        operator: the kind of mistake.
        line: where it is, counted from 1.
        before: what stood there.
    """

    operator: str
    line: int
    start: int
    stop: int
    before: str
    text: str

    def apply(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.text.encode() + data[self.stop :]).decode()


def edits(source: str) -> list[Edit]:
    """All edits of a source text, in the order of the text; none in docstrings, error messages or annotations."""
    data, starts = source.encode(), [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, (operator, replacement) in _mistakes(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        stop = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found.append(Edit(operator, node.lineno, start, stop, data[start:stop].decode(), replacement))
    return sorted(found, key=lambda edit: (edit.start, edit.stop, edit.operator, edit.text))


def _mistakes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, tuple[str, str]]]:
    for node in _running(tree):
        for mutate in (_swap, _sign, _constant, _axis, _rounding, _clamp, _negation, _deletion):
            for mistake in mutate(node):
                yield node, mistake


def _running(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Statements and expressions that decide what is computed, outermost first."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _running(child)


def _swap(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Comparisons, plus and minus, times, and/or, of tensors too: each for its neighbour."""
    if isinstance(node, ast.Compare):
        for position, op in enumerate(node.ops):
            if type(op) in SWAPS:
                yield "comparison", _changed(node, lambda n, p=position: n.ops.__setitem__(p, SWAPS[type(n.ops[p])]()))
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS and not _is_no_number(node.left, node.right):
        yield OPERATORS.get(type(node.op), "sign"), _changed(node, lambda n: setattr(n, "op", SWAPS[type(n.op)]()))
    if isinstance(node, ast.BoolOp):
        yield "and/or", _changed(node, lambda n: setattr(n, "op", SWAPS[type(n.op)]()))


def _sign(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "sign", f"({ast.unparse(node.operand)})"


def _constant(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield "constant", f"{node.value + 1}"
        yield "constant", f"({node.value - 1})"
    if isinstance(node, ast.Constant) and type(node.value) is float and node.value >= LEAST_DECIMAL:
        yield "decimal", f"{2 * node.value}"


def _axis(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The axis of a call: the neighbour that is most likely an axis too."""
    if not isinstance(node, ast.Call):
        return
    for position, keyword in enumerate(node.keywords):
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:
            continue
        if keyword.arg in AXES and type(value) is int:
            other = ast.Constant(value - 1 if value > 0 else value + 1)
            yield "axis", _changed(node, lambda n, p=position, o=other: setattr(n.keywords[p], "value", o))


def _rounding(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Up for down: of a call, or of a division of whole numbers."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ROUNDINGS:
        yield "rounding", _changed(node, lambda n: setattr(n.func, "attr", ROUNDINGS[n.func.attr]))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        yield "rounding", f"(-(-({ast.unparse(node.left)}) // ({ast.unparse(node.right)})))"


def _clamp(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The tensor as it is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLAMPS:
        is_function = isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "np")
        yield "clamp", f"({ast.unparse(node.args[0] if is_function else node.func.value)})"


def _negation(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", f"bool({ast.unparse(node.operand)})"
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        return
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn):
        yield "not", f"(not ({ast.unparse(node)}))"


def _deletion(node: ast.AST) -> Iterator[tuple[str, str]]:
    """A call for its effect, an update in place, a store into an object: left out."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    is_store = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    if is_call or is_store or isinstance(node, ast.AugAssign):
        yield "deletion", "pass"


def _changed(node: ast.expr, change: Callable[[Any], None]) -> str:
    changed = copy.deepcopy(node)
    change(changed)
    return f"({ast.unparse(changed)})"


def _is_no_number(*nodes: ast.expr) -> bool:
    """True where one is a text, a table or a type, as those of `"a" + b`, `settings | {...}` and `int | None`."""
    return any(
        isinstance(node, ast.JoinedStr | ast.Dict)
        or (isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str)))
        or (isinstance(node, ast.Name) and (node.id[:1].isupper() or node.id in TYPES))
        or (isinstance(node, ast.Attribute) and node.attr[:1].isupper())
        for node in nodes
    )
