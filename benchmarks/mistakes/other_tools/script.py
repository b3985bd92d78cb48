"""The source text of a case as one training script, for tools that read text."""

import ast
import copy
import inspect
import sys
from collections.abc import Collection
from functools import cache
from types import ModuleType

from benchmarks.mistakes.case import Case

CASES = "benchmarks.mistakes."
LOOP = """
for epoch in range(epochs):
    model.train()
    for inputs, targets in train:
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        optimizer.step()
"""


def script_of(case: Case) -> str:
    """The functions and classes that make a case, each with those that it uses, below the imports of their files.

    A training step stands as a loop over the batches in its author's function, as it would in a script; where there
    is none, the usual loop ends the script.
    """
    parts: dict[tuple[str, str], ast.stmt] = {}
    _collect(sys.modules[case.make.__module__], case.make.__name__, parts)
    modules = [sys.modules[name] for name in dict.fromkeys(name for name, _ in parts)]
    imports = dict.fromkeys(ast.unparse(line) for module in modules for line in _imports(module))
    loops = StepsAsLoops({module.__name__.rpartition(".")[2] for module in modules})
    body = [
        ast.unparse(ast.fix_missing_locations(loops.visit(copy.deepcopy(part)))) for part in reversed(parts.values())
    ]
    return "\n".join([*imports, "", *body, "" if loops.count else LOOP]) + "\n"


class StepsAsLoops(ast.NodeTransformer):
    """Writes each `def step(batch)` as a loop over batches with the same body, and names of `modules` without these.

    `count` says how many loops there were.
    """

    def __init__(self, modules: Collection[str]) -> None:
        self.count, self.modules = 0, modules

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        self.generic_visit(node)
        names = [argument.arg for argument in node.args.args]
        if node.name != "step" or len(names) != 1 or names == ["self"]:
            return node
        self.count += 1
        body = [line for statement in node.body if (line := InLine().visit(statement)) is not None]
        return ast.For(ast.Name(names[0], ast.Store()), ast.Name("train", ast.Load()), body, [])

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        is_ours = isinstance(node.value, ast.Name) and node.value.id in self.modules
        return ast.Name(node.attr, node.ctx) if is_ours else node


class InLine(ast.NodeTransformer):
    """Turns statements of a function into those of a loop: no return, no nonlocal."""

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        return ast.Pass() if node.value is None else ast.Expr(node.value)

    def visit_Nonlocal(self, _: ast.Nonlocal) -> None:
        return None


def _collect(module: ModuleType, name: str, parts: dict[tuple[str, str], ast.stmt]) -> None:
    """Adds what a module defines by that name, then what that uses."""
    node = _definitions(module).get(name)
    if node is None or (module.__name__, name) in parts:
        return
    parts[module.__name__, name] = node
    for used in ast.walk(node):
        if isinstance(used, ast.Name):
            _collect_named(module, used.id, parts)
        elif isinstance(used, ast.Attribute) and isinstance(used.value, ast.Name):
            owner = vars(module).get(used.value.id)
            if isinstance(owner, ModuleType) and owner.__name__.startswith(CASES):
                _collect(owner, used.attr, parts)


def _collect_named(module: ModuleType, name: str, parts: dict[tuple[str, str], ast.stmt]) -> None:
    value = vars(module).get(name)
    if name in _definitions(module):
        _collect(module, name, parts)
    elif (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith(CASES):
        _collect(sys.modules[value.__module__], value.__name__, parts)


@cache
def _definitions(module: ModuleType) -> dict[str, ast.stmt]:
    """The functions, classes and constants at the top of a case's module, but the cases themselves."""
    if module.__name__ == Case.__module__:
        return {}
    named: dict[str, ast.stmt] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named[node.targets[0].id] = node
    return {name: node for name, node in named.items() if not isinstance(vars(module)[name], Case)}


def _imports(module: ModuleType) -> list[ast.stmt]:
    """The imports of a module but those of this benchmark."""
    lines = ast.parse(inspect.getsource(module)).body
    return [
        line
        for line in lines
        if isinstance(line, ast.Import)
        or (isinstance(line, ast.ImportFrom) and not (line.module or "").startswith("benchmarks"))
    ]
