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
    {"types", "task", "task_facts", "ops", "errors", "limits", "network_names", "streams", "launched"},
    {"layers", "tracing", "convert", "metrics", "pages", "machine", "manifest"},
    {"models", "tasks", "training", "data"},
    {"recipe", "checks", "inspection", "exporting", "run_directory", "model_file"},
    {"assemble", "predictor", "planning", "report"},
    {
        "report_pictures",
        "same_set",
        "published",
        "measuring",
        "custom_parts",
        "overview",
        "screen",
        "notebook",
        "plain_objects",
        "region_fitting",
    },
    {"conduct", "guarding", "finishing", "comparing", "error_view"},
    {"run", "probing", "lesioning", "checking"},
    {"cli"},
    {"__main__"},
)
SIDEWAYS = {
    ("task", "types"),
    ("task_facts", "task"),
    ("ops", "types"),
    ("ops", "errors"),
    ("limits", "errors"),
    ("network_names", "errors"),
    ("launched", "errors"),
    ("convert", "tracing"),
    ("checks", "inspection"),
    ("checks", "exporting"),
    ("conduct", "guarding"),
    ("conduct", "finishing"),
}
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

CONVERSIONS = ("dilation", "sliding", "folding")  # folders of convert/ that never import one another
NAMESAKES = {"cli/main.py"}  # modules called as the function in them, one of which hides the other; imported by nobody

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
PROGRAMMING_ERRORS = {  # whoever catches RuntimeError and one of these catches anything
    *("AttributeError", "AssertionError", "ArithmeticError", "TypeError", "NameError"),
    *("LookupError", "KeyError", "IndexError"),
}
ALLOWED: set[tuple[str, str]] = {  # (file, name): three lines at most beside the one file that may catch anything
    ("tracing/foreign.py", "except Exception"),
    ("models/checkpoint_file.py", "torch.load"),  # with weights_only, which runs no code
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


def foreign_conversions(folder: str, source: str) -> list[str]:
    """Modules of convert/ outside of one of its folders that the source imports."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{name.name}" for name in node.names]
    inside = f"unpool.convert.{folder}."
    return [name for name in modules if f"{name}.".startswith("unpool.convert.") and not f"{name}.".startswith(inside)]


def is_namesake(path: Path) -> bool:
    """Whether a module, or a package, defines a function or class of its own name."""
    name = path.parent.name if path.name == "__init__.py" else path.stem
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name for node in body)


def forbidden(source: str) -> Iterator[str]:
    """What the source does that nothing here may do, each with its name."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _forbidden_import(node)
        elif isinstance(node, ast.Attribute | ast.Name):
            yield from _forbidden_name(node)
        elif isinstance(node, ast.keyword):
            yield from _forbidden_argument(node)
        yield from _forbidden_deed(node)
    if any(isinstance(node, ast.FunctionDef) and not node.decorator_list and _is_stub(node) for node in tree.body):
        yield "a function without a body"


def _forbidden_deed(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assert):
        yield "assert"
    if _sets_class(node):
        yield "__class__"
    if _catches_anything(node):
        yield "except Exception"


def _sets_class(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "__class__" and not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Constant) and node.value == "__class__"  # as of setattr


def _is_stub(node: ast.FunctionDef) -> bool:
    """Whether a function has no body beside its docstring, only a signature."""
    return all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in node.body)


def _catches_anything(node: ast.AST) -> bool:
    """Whether a handler, a tuple or a call of `suppress` names Exception, or so many errors that it stands for it."""
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or dotted(node.type) == "Exception"
    items = node.elts if isinstance(node, ast.Tuple) else []
    if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "suppress":
        items = node.args
    names = set(map(dotted, items))
    return "Exception" in names or ("RuntimeError" in names and bool(names & PROGRAMMING_ERRORS))


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


def test_imports_point_down():
    for path in FILES:
        if path != SRC / "__init__.py":  # its public names come from every floor
            assert part_of(path) in FLOOR_OF, f"{part_of(path)} stands on no floor; give it one in FLOORS"
            assert faults(part_of(path), path.read_text(encoding="utf-8")) == [], name_of(path)


@pytest.mark.parametrize("folder", CONVERSIONS)
def test_conversions_never_import_one_another(folder):
    for path in (SRC / "convert" / folder).glob("*.py"):
        assert foreign_conversions(folder, path.read_text(encoding="utf-8")) == [], name_of(path)


@pytest.mark.parametrize(
    "line",
    [
        "from unpool.convert.dilation.conversion import dilate",
        "from unpool.convert import dilate",
        "from unpool import convert",
        "import unpool.convert.dilation",
    ],
)
def test_every_form_of_an_import_of_another_conversion_is_seen(line):
    assert foreign_conversions("sliding", line)
    assert foreign_conversions("sliding", "from unpool.convert.sliding.map_layout import Layout") == []


def test_no_module_is_called_as_the_function_in_it():
    assert {name_of(path) for path in FILES if is_namesake(path)} == NAMESAKES


def test_every_file_can_be_read_in_one_sitting():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= LONGEST_FILE, f"split {name_of(path)} by subject, not by size"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
                assert lines <= LONGEST_FUNCTION, f"{node.name} of {name_of(path)} has {lines} lines"


def _docstring_lines(node: ast.FunctionDef) -> int:
    return (ast.get_docstring(node, clean=False) or "").count("\n")


def test_nothing_forbidden_is_used():
    used = [(name_of(path), name) for path in FILES for name in forbidden(path.read_text(encoding="utf-8"))]
    assert [use for use in used if use not in ALLOWED] == []


def test_list_of_exceptions_stays_short():
    assert len(ALLOWED) <= 4
    assert [file for file, name in ALLOWED if name == "except Exception"] == ["tracing/foreign.py"]


SLOW_TO_IMPORT = {"torchvision", "timm", "faster_coco_eval", "cv2", "tensorboard"}  # torchvision: two seconds


def test_what_is_slow_to_import_is_imported_by_the_functions_that_need_it():
    for path in FILES:
        at_import = ast.parse(path.read_text(encoding="utf-8")).body
        named = [one.name for node in at_import if isinstance(node, ast.Import) for one in node.names]
        named += [node.module or "" for node in at_import if isinstance(node, ast.ImportFrom)]
        assert SLOW_TO_IMPORT & {name.partition(".")[0] for name in named} == set(), name_of(path)


def test_modules_only_define_names():
    for path in FILES:
        if path.name != "__main__.py":  # a program
            assert acts(path.read_text(encoding="utf-8")) == [], name_of(path)


def test_every_module_says_what_it_is():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)) or not text.strip(), name_of(path)


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
        "try:\n    f()\nexcept (RuntimeError, TypeError, ValueError):\n    pass",
        "FAULTS = (Exception,)",
        "FAULTS = (RuntimeError, ValueError, AttributeError, LookupError, AssertionError)",
        "with suppress(Exception):\n    f()",
        "with contextlib.suppress(RuntimeError, KeyError):\n    f()",
        "a.__class__ = B",
        "setattr(a, '__class__', B)",
        "def f(a, b=1): ...",
    ],
)
def test_every_forbidden_use_is_seen(line):
    assert list(forbidden(line))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "ast.literal_eval(t)",
        "safe.load(p)",
        "os.execve(a, b, c)",
        "f(shell=False)",
        "a.__class__.__name__",
        "T = (RuntimeError, ValueError)",
    ],
)
def test_what_only_looks_forbidden_is_let_through(line):
    assert list(forbidden(line)) == []


@pytest.mark.parametrize("line", ["torch.set_num_threads(1)", "for x in y:\n    f(x)", "with a:\n    b = 1", "del x"])
def test_every_deed_at_import_is_seen(line):
    assert acts(f'"""A module."""\n{line}') == [2]
