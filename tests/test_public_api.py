"""What `import unpool` offers, and that it costs nothing."""

import ast
import inspect
import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import unpool
from unpool.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]

WATCHED = """
import json, os, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "os.mkdir", "os.remove", "os.rename",
                 "os.putenv", "subprocess.Popen", "os.exec", "os.system", "os.fork"):
        seen.append([event, repr(arguments)])
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([event, repr(arguments)])
"""
ALONE = """
sys.addaudithook(watch)
import unpool
loaded = [name for name in ("torch", "numpy", "pydantic", "PIL") if name in sys.modules]
print(json.dumps({"seen": seen, "loaded": loaded}))
"""
WHOLE = """
import logging, pkgutil, random, signal
import numpy, torch, torchvision, PIL.Image, pydantic, ruamel.yaml, rich.progress, safetensors.torch
def state():
    return [torch.get_num_threads(), str(torch.get_default_dtype()), torch.random.get_rng_state().tolist(),
            torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
            str(signal.getsignal(signal.SIGINT)), str(signal.getsignal(signal.SIGTERM)), len(logging.root.handlers),
            repr(random.getstate()), repr(numpy.random.get_state()), PIL.Image.MAX_IMAGE_PIXELS, dict(os.environ)]
before = state()
sys.addaudithook(watch)
import unpool
names = [m.name for m in pkgutil.walk_packages(unpool.__path__, "unpool.") if not m.name.endswith("__main__")]
for name in names:
    __import__(name)
print(json.dumps({"seen": seen, "changed": before != state(), "count": len(names)}))
"""


def run_python(code: str, folder: Path) -> dict:
    """What the code prints, from a process with an empty home that has nothing else in its environment."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED + code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"HOME": str(folder), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_no_torch_and_touches_nothing(tmp_path):
    assert run_python(ALONE, tmp_path) == {"seen": [], "loaded": []}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_import_of_every_module_changes_nothing(tmp_path):
    found = run_python(WHOLE, tmp_path)
    assert found["seen"] == []
    assert not found["changed"]
    assert found["count"] > 50


@pytest.mark.parametrize("name", unpool.__all__)
def test_public_function_is_there_annotated_and_explained(name):
    function = getattr(unpool, name)
    assert callable(function)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_what_an_editor_sees_is_what_is_there():
    tree = ast.parse(Path(unpool.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [name.name for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert sorted(seen) == sorted(unpool.__all__) == sorted(unpool._SOURCES)


def test_public_names_are_listed_by_dir():
    assert set(unpool.__all__) < set(dir(unpool))


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match="has no attribute 'trian'; it has: DataInfo, build, check, compare"):
        unpool.trian  # noqa: B018


def test_no_module_bears_the_name_of_a_verb():
    modules = {path.stem for path in (ROOT / "src" / "unpool").iterdir()}
    assert modules.isdisjoint(unpool.__all__)


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "summary"])
def test_verb_of_the_command_line_is_a_function_too(verb):
    assert verb in VERBS
    assert verb in unpool.__all__


def test_version_is_that_of_the_package():
    assert unpool.__version__ == version("unpool")


def test_command_and_module_are_one_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"unpool": "unpool.cli.main:main"}


def test_type_checkers_see_the_annotations():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "py.typed" in settings["tool"]["setuptools"]["package-data"]["unpool"]
    assert (Path(unpool.__file__).parent / "py.typed").is_file()
