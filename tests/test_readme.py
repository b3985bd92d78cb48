"""Every command in README.md can be given, and every figure in its tables of results was measured."""

import json
import re
import shlex
from pathlib import Path

import pytest

from unpool.cli.main import VERBS
from unpool.errors import RecipeError
from unpool.recipe import load_recipe, recipe_names

ROOT = Path(__file__).parents[1]
SHELLS = ("sh", "bash", "shell", "console")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.\-])\d[\d,]*(?:\.\d+)?")  # not the 50 of ResNet-50


def commands(text: str) -> list[list[str]]:
    """The words of each command line in the fenced shell blocks; of several joined by `&&` or `|`, each."""
    found = []
    for language, block in FENCE.findall(text):
        lines = block.replace("\\\n", " ").split("\n")
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        if language in SHELLS:
            words = [shlex.split(line, comments=True) for line in lines]
            found += [part for line in words for part in _parts(line)]
    return found


def _parts(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "|", ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def fault_of(command: list[str]) -> str:
    """Why a command cannot be given; empty for one that can, or that is not ours."""
    program, *rest = command
    if Path(program).name == "unpool":
        return _fault_of_verb(rest)
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return "".join(f"the Makefile has no {name}; " for name in rest if name not in targets and "=" not in name)
    if Path(program).name.startswith("python") and rest[:1] == ["-m"] and rest[1].startswith("benchmarks"):
        exists = (ROOT / (rest[1].replace(".", "/") + ".py")).is_file()
        return "" if exists else f"there is no {rest[1]}"
    return ""


def _fault_of_verb(words: list[str]) -> str:
    if words[:1] == ["--version"] or words[:1] == ["--help"]:
        return ""
    if not words or words[0] not in VERBS:
        return f"unpool has no verb {' '.join(words)!r}"
    try:
        values = VERBS[words[0]].parser().read(words[1:])
        if words[0] == "train" and values.resume is None:
            return _fault_of_recipe(values.items)
    except RecipeError as error:
        return str(error)
    return ""


def _fault_of_recipe(items: list[str]) -> str:
    """A shipped recipe must take the overrides; a file of the reader's own cannot be looked at."""
    recipe, *overrides = items
    if recipe in recipe_names():
        load_recipe(recipe, overrides)
        return ""
    return "" if recipe.endswith((".yaml", ".yml")) else f"no recipe {recipe}"


def figures(text: str) -> list[str]:
    """Numbers in the tables below every heading that speaks of results, down to the next heading of its level."""
    found: list[str] = []
    level = 0
    for line in FENCE.sub("", text).split("\n"):
        heading = re.match(r"(#+) (.*)", line)
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if "result" in heading[2].lower() else 0
        elif level and line.startswith("|"):
            found += [number.replace(",", "") for number in NUMBER.findall(line)]
    return found


def measured() -> set[str]:
    """Every number in RESULTS.md and in the files it was made from."""
    files = [ROOT / "RESULTS.md", *(ROOT / "benchmarks" / "results").glob("*.json")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    return {number.replace(",", "") for text in texts for number in NUMBER.findall(text)}


@pytest.fixture(scope="module")
def readme() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if text.count("\n") < 10:
        pytest.skip("README.md is not written yet")
    return text


def test_every_command_of_the_readme_can_be_given(readme: str) -> None:
    given = commands(readme)
    assert any(Path(command[0]).name == "unpool" for command in given)
    assert {shlex.join(command): fault for command in given if (fault := fault_of(command))} == {}


def test_every_result_in_the_readme_was_measured(readme: str) -> None:
    shown = figures(readme)
    assert shown, "README.md has no table below a heading that speaks of results"
    assert [number for number in shown if number not in measured()] == []


def test_every_result_file_is_in_results_md() -> None:
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
        assert [row["figure"] for row in rows if f"| {row['figure']} |" not in text] == [], path.name


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("unpool --version", ""),
        ("unpool recipes | head", ""),
        ("unpool train camvid_unet data.root=DIR train.epochs=5", ""),
        ("unpool train my.yaml", ""),
        ("unpool trian camvid_unet", "no verb"),
        ("unpool train camvid_unte", "no recipe"),
        ("unpool train camvid_unet train.epoch=5", "epochs"),
        ("unpool train camvid_unet --rnu DIR", "--rnu"),
        ("make test", ""),
        ("make tset", "no tset"),
        ("python -m benchmarks.speed --rounds 1", ""),
        ("python -m benchmarks.sped", "no benchmarks.sped"),
        ("cd DIR && unpool evaluate", "run"),
    ],
)
def test_fault_of_a_command_is_found(line: str, fault: str) -> None:
    faults = "".join(fault_of(command) for command in commands(f"```sh\n{line}\n```\n"))
    assert fault in faults.lower() if fault else not faults


def test_commands_are_read_from_shell_blocks_only() -> None:
    text = "```python\nmake x\n```\n```console\n$ make a  # comment\nmake output\n```\n```sh\nmake b \\\n  c\n```\n"
    assert commands(text) == [["make", "a"], ["make", "b", "c"]]


def test_figures_are_those_of_the_tables_of_results() -> None:
    text = "# A\n| 1 |\n## Results\n| ResNet-50 | 0.853 | 1,234 img/s |\n### More\n| 7 |\n## End\n| 9 |\n"
    assert figures(text) == ["0.853", "1234", "7"]
