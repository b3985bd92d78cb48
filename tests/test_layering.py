"""The shape of the source: imports point down, files can be read in one sitting, nothing forbidden is called."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).parents[1] / "src" / "unpool"
FILES = sorted(SRC.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines

FLOORS = (  # a part imports from the floors above its own line only
    {"types", "task", "ops", "errors"},
    {"layers", "convert", "metrics", "pages", "machine"},
    {"models", "tasks", "training", "data"},
    {"recipe", "checks", "inspection", "exporting", "run_directory", "model_file"},
    {"assemble", "predictor", "planning", "report"},
    {"report_pictures", "same_set"},
    {"conduct"},
    {"run"},
    {"cli"},
    {"__main__"},
)
SIDEWAYS = {
    ("task", "types"),
    ("ops", "types"),
    ("ops", "errors"),
    ("convert", "layers"),
    ("checks", "inspection"),
    ("checks", "exporting"),
}
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

BANNED_MODULES = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"),
    *("urllib", "http", "requests", "httpx", "ftplib", "smtplib", "huggingface_hub", "wandb"),
}
BANNED_CALLS = {
    *("eval", "exec", "compile", "input", "breakpoint", "print"),
    *("yaml.load", "torch.load", "torch.export.load", "torch.hub", "os.system", "os.popen", "tempfile.mktemp"),
    *("cv2.imread", "torch.multiprocessing.set_sharing_strategy", "warnings.simplefilter"),
}
BANNED_METHODS = {"extractall"}
ALLOWED: set[tuple[str, str]] = {  # (file, name): two lines at most
    ("models/download.py", "http.client.HTTPException"),  # what torch's download raises
    ("models/timm_weights.py", "huggingface_hub"),  # what timm's download raises, and where its cache lies
}


class Import(NamedTuple):
    line: int
    part: str  # of Unpool, or "" where the form hides it


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression made of names; else what of it is."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imports(tree: ast.AST) -> Iterator[Import]:
    """Every import of Unpool's own parts, in every form that Python has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                head, _, rest = name.name.partition(".")
                if head == "unpool":
                    yield Import(node.lineno, rest.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node)
        elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            text = first.value if isinstance(first, ast.Constant) else "unpool"
            if str(text).partition(".")[0] == "unpool" or str(text).startswith("."):
                yield Import(node.lineno, str(text).removeprefix("unpool").strip(".").partition(".")[0])


def _from(node: ast.ImportFrom) -> Iterator[Import]:
    if node.level:
        yield Import(node.lineno, "")
        return
    head, _, rest = (node.module or "").partition(".")
    if head != "unpool":
        return
    if rest:
        yield Import(node.lineno, rest.partition(".")[0])
        return
    for name in node.names:
        if name.name != "__version__":
            yield Import(node.lineno, name.name if name.name in FLOOR_OF else "")


def may_import(part: str, target: str) -> bool:
    if part == target or (part, target) in SIDEWAYS:
        return True
    return bool(target) and FLOOR_OF[target] < FLOOR_OF[part]


def faults(part: str, source: str) -> list[str]:
    found = imports(ast.parse(source))
    return [
        f"line {line}: {part} may not import {target or 'in this form'}"
        for line, target in found
        if not may_import(part, target)
    ]


def forbidden(source: str) -> Iterator[str]:
    """What the source does that nothing here may do, each with its name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _forbidden_import(node)
        elif isinstance(node, ast.Attribute | ast.Name):
            yield from _forbidden_name(node)
        elif isinstance(node, ast.keyword):
            yield from _forbidden_argument(node)
        elif isinstance(node, ast.Assert):
            yield "assert"
        elif isinstance(node, ast.ExceptHandler) and (node.type is None or dotted(node.type) == "Exception"):
            yield "except Exception"


def _forbidden_import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    inner = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for name in (inner + alias.name for alias in node.names):
        if name.partition(".")[0] in BANNED_MODULES or name in BANNED_CALLS:
            yield name


def _forbidden_name(node: ast.Attribute | ast.Name) -> Iterator[str]:
    name = dotted(node)
    is_read = isinstance(node.ctx, ast.Load)  # a field may be called `input`
    if is_read and (name in BANNED_CALLS or name.rpartition(".")[2] in BANNED_METHODS):
        yield name


def _forbidden_argument(node: ast.keyword) -> Iterator[str]:
    if node.arg in ("shell", "allow_pickle") and not (isinstance(node.value, ast.Constant) and not node.value.value):
        yield f"{node.arg}=True"


def acts(source: str) -> list[int]:
    """Lines of statements outside of functions that do more than define a name."""
    harmless = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If, ast.Try)
    body = ast.parse(source).body
    docstring = [node for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return [node.lineno for node in body if not isinstance(node, harmless) and node not in docstring]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    if path == SRC / "__init__.py":
        pytest.skip("the public names come from every floor")
    assert part_of(path) in FLOOR_OF, f"{part_of(path)} stands on no floor; give it one in FLOORS"
    assert faults(part_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_can_be_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE, "split it by subject, not by size"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


def _docstring_lines(node: ast.FunctionDef) -> int:
    return (ast.get_docstring(node, clean=False) or "").count("\n")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_forbidden_is_used(path):
    used = [(name_of(path), name) for name in forbidden(path.read_text(encoding="utf-8"))]
    assert [use for use in used if use not in ALLOWED] == []


def test_list_of_exceptions_stays_short():
    assert len(ALLOWED) <= 2


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_module_only_defines_names(path):
    if path.name == "__main__.py":
        pytest.skip("a program")
    assert acts(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_module_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text.strip()


@pytest.mark.parametrize(
    "line",
    [
        "from unpool.models import build",
        "from unpool import models",
        "from unpool import models as m",
        "from unpool import build",
        "import unpool.models",
        "import unpool.models.catalog as c",
        "import unpool",
        "from .models import build",
        "from .. import models",
        "from . import models",
        "import_module('unpool.models')",
        "importlib.import_module('unpool.models')",
        "__import__('unpool.models')",
        "import_module(name)",
        "import_module('.models', 'unpool')",
        "def f():\n    from unpool.models import build",
        "if TYPE_CHECKING:\n    import unpool.models",
        "from unpool import *",
    ],
)
def test_every_form_of_an_upward_import_is_seen(line):
    assert len(faults("data", line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from unpool.types import Batch",
        "from unpool import types",
        "import unpool.ops.boxes",
        "from unpool.data.decode import decode_image",
        "from unpool import __version__",
        "import unpooled.models",
        "import torch.models",
    ],
)
def test_downward_and_foreign_imports_are_let_through(line):
    assert faults("data", line) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import urllib.request",
        "from os import system",
        "os.system('x')",
        "run = os.system",
        "eval('1')",
        "exec('1')",
        "torch.load(p)",
        "torch.export.load(p)",
        "torch.hub.load(p)",
        "yaml.load(t)",
        "archive.extractall(p)",
        "subprocess.run(c, shell=True)",
        "np.load(p, allow_pickle=True)",
        "tempfile.mktemp()",
        "cv2.imread(p)",
        "assert x",
        "print(x)",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
    ],
)
def test_every_forbidden_use_is_seen(line):
    assert list(forbidden(line))


@pytest.mark.parametrize(
    "line", ["model.eval()", "ast.literal_eval(t)", "safe.load(p)", "os.execve(a, b, c)", "f(shell=False)"]
)
def test_what_only_looks_forbidden_is_let_through(line):
    assert list(forbidden(line)) == []


@pytest.mark.parametrize("line", ["torch.set_num_threads(1)", "for x in y:\n    f(x)", "with a:\n    b = 1", "del x"])
def test_every_deed_at_import_is_seen(line):
    assert acts(f'"""A module."""\n{line}') == [2]
