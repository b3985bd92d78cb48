"""Every function that a user calls has an example in its docstring; the suite runs them, see `--doctest-modules`."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import unpool
from unpool import convert, metrics, ops


def public_functions(package: Any) -> dict[str, Callable[..., Any]]:
    """Functions without a leading underscore that a module of the package defines, by module and name."""
    modules = [import_module(module.name) for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


FUNCTIONS = {
    **{f"unpool.{name}": getattr(unpool, name) for name in unpool.__all__},
    **{f"unpool.convert.{name}": value for name, value in vars(convert).items() if inspect.isfunction(value)},
    **public_functions(ops),
    **public_functions(metrics),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_function_has_an_example(name: str) -> None:
    example = inspect.getdoc(FUNCTIONS[name]) or ""
    assert ">>> " in example, f"{name} has no example in its docstring"
    assert "+SKIP" not in example


def test_examples_are_run(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("--doctest-modules")
    assert "src" in pytestconfig.getini("testpaths")
    assert Path(unpool.__file__).parents[1] == Path(__file__).parents[1] / "src"
