"""The listed mistakes, and which files of the source must have one."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

EQUIVALENT = "equivalent.yaml"
KEYS = ("file", "old", "new", "test", "why")
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mistake: `old` becomes `new` in `file`, and `test` must turn red; `why` says what it would break."""

    area: str
    file: str
    old: str
    new: str
    test: str
    why: str

    def apply(self, text: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: `old` does not occur exactly once, or the result is no Python.
        """
        times = text.count(self.old)
        if times != 1:
            raise ValueError(f"`old` occurs {times} times in {self.file}, must occur once")
        mutated = text.replace(self.old, self.new)
        try:
            before, after = ast.dump(ast.parse(text)), ast.dump(ast.parse(mutated))
        except SyntaxError as error:
            raise ValueError(f"`new` makes {self.file} no Python: {error.msg}, line {error.lineno}") from error
        if before == after:
            raise ValueError(f"`new` changes nothing that runs in {self.file}")
        return mutated


def read_mutants(folder: Path) -> list[Mutant]:
    """All rows of the folder's YAML files but those that change nothing, in order.

    Raises:
        ValueError: a file is no YAML list, or a row does not have exactly the keys of a mutant, each a text.
    """
    mutants = []
    for path in sorted(path for path in folder.glob("*.yaml") if path.name != EQUIVALENT):
        try:
            rows = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except YAMLError as error:
            raise ValueError(f"{path.name} is not YAML: {error}") from error
        if not isinstance(rows, list):
            raise ValueError(f"{path.name} must hold a list of rows, holds {type(rows).__name__}")
        for number, row in enumerate(rows, 1):
            mutants.append(_mutant(row, area=path.stem, place=f"{path.name}, row {number}"))
    return mutants


def _mutant(row: object, *, area: str, place: str) -> Mutant:
    if not isinstance(row, dict) or set(row) != set(KEYS):
        given = ", ".join(map(str, row)) if isinstance(row, dict) else repr(row)
        raise ValueError(f"{place}: has {given}; needs exactly the keys {', '.join(KEYS)}")
    wrong = [key for key in KEYS if not isinstance(row[key], str)]
    if wrong:
        raise ValueError(f"{place}: {wrong[0]} is {row[wrong[0]]!r}, must be a text: put it in quotes")
    return Mutant(area=area, **row)


def computing_files(root: Path) -> list[str]:
    """Files below src that compute: arithmetic or an ordering or equality test within a function; tables do not."""
    paths = (path for path in sorted((root / "src").rglob("*.py")) if path.name != "__init__.py")
    return [path.relative_to(root).as_posix() for path in paths if computes(path.read_text(encoding="utf-8"))]


def computes(source: str) -> bool:
    """True where a function of the source computes with numbers or compares values."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(_is_computation(node) for function in functions for part in function.body for node in ast.walk(part))


def _is_computation(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ARITHMETIC) and not any(map(_is_text, (node.left, node.right)))
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ARITHMETIC) and not _is_text(node.value)
    return isinstance(node, ast.Compare) and any(isinstance(op, COMPARISONS) for op in node.ops)


def _is_text(node: ast.AST) -> bool:
    """True for a literal text: `folder / "name"` is a path and `"a" + b` a sentence, not arithmetic."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def without_mutant(files: Iterable[str], mutants: Iterable[Mutant]) -> list[str]:
    """The files for which no mistake is listed."""
    having = {mutant.file for mutant in mutants}
    return [file for file in files if file not in having]
