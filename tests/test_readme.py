"""Every command in README.md can be given, and every figure in its tables of results is that of the key beside it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import MOST_CLAIMS
from unpool.cli.verbs import VERBS
from unpool.errors import RecipeError
from unpool.recipe import load_recipe, recipe_names

ROOT = Path(__file__).parents[1]
SHELLS = ("sh", "bash", "shell", "console")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RESULTS = ROOT / "benchmarks" / "results"
DIGITS = r"(?<![\w.\-])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?"
NUMBER = re.compile(DIGITS)  # not the 50 of ResNet-50
SOURCED = re.compile(rf"({DIGITS})<!-- (\w+\.json): ([\w.]+)(?:#(\d+))? -->")


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


def result_lines(text: str) -> list[str]:
    """Lines of the tables below every heading that speaks of results, down to the next heading of its level."""
    lines: list[str] = []
    level = 0
    for line in FENCE.sub("", text).split("\n"):
        heading = re.match(r"(#+) (.*)", line)
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if "result" in heading[2].lower() else 0
        elif level and line.startswith("|"):
            lines.append(line)
    return lines


def value_at(file: str, key: str) -> Any:
    """The value of a dotted key in a file of results; a number counts the entries of a list.

    Raises:
        LookupError: there is no such key.
    """
    value = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def number_at(file: str, key: str, position: int) -> str:
    """The number of that position, from 1, in the text of a key; what is wrong where there is none."""
    try:
        return NUMBER.findall(str(value_at(file, key)))[position - 1]
    except (OSError, LookupError, ValueError) as error:
        return f"nothing: {type(error).__name__} {error}"


def faults_of(line: str) -> list[str]:
    """Numbers of a line of results that no comment sources, or that are not those of their key.

    A size or setting in the first column needs no comment where a row that the line cites has it too.
    """
    sourced = SOURCED.findall(line)
    held = [(shown, file, key, number_at(file, key, int(position or 1))) for shown, file, key, position in sourced]
    faults = [f"{shown}: {file}: {key} has {number}" for shown, file, key, number in held if shown != number]
    first, *others = SOURCED.sub("", line).strip("| ").split(" | ")
    cited = " ".join(str(value_at(file, key.rsplit(".", 1)[0])) for _, file, key, number in held if number[0].isdigit())
    faults += [f"{number}: no source" for cell in others for number in NUMBER.findall(cell)]
    return faults + [
        f"{number}: in no row cited" for number in NUMBER.findall(first) if number not in NUMBER.findall(cited)
    ]


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


def test_every_number_of_the_results_is_that_of_the_key_beside_it(readme: str) -> None:
    lines = result_lines(readme)
    assert sum(len(SOURCED.findall(line)) for line in lines) > 20, "README.md has no sourced table of results"
    assert [fault for line in lines for fault in faults_of(line)] == []


def test_every_result_file_is_in_results_md() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
        first, others = rows[:MOST_CLAIMS], rows[MOST_CLAIMS:]
        assert [row["figure"] for row in first if f"| {row['figure']} |" not in text] == [], path.name
        assert len(others) < 2 or f": {len(others)} more | in the file |" in text, path.name


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


def test_results_are_the_tables_below_their_heading() -> None:
    text = "# A\n| 1 |\n## Results\n| 2 |\n### More\n| 7 |\n## End\n| 9 |\n"
    assert result_lines(text) == ["| 2 |", "| 7 |"]


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("| U-Net, 36,000 crops | 0.61<!-- a.json: rows.0.figure --> |", []),
        ("| U-Net | 36,000<!-- a.json: rows.0.figure#2 --> crops, 3e-06<!-- a.json: worst --> |", []),
        ("| U-Net | 0.62<!-- a.json: rows.0.figure --> |", ["0.62: a.json: rows.0.figure has 0.61"]),
        ("| U-Net | 36,000<!-- a.json: rows.0.figure --> |", ["36,000: a.json: rows.0.figure has 0.61"]),
        ("| U-Net | 0.61 | - |", ["0.61: no source"]),
        ("| U-Net, 9 crops | 0.61<!-- a.json: rows.0.figure --> |", ["9: in no row cited"]),
        (
            "| U-Net | 1<!-- a.json: rows.1.figure --> |",
            ["1: a.json: rows.1.figure has nothing: IndexError list index"],
        ),
        ("| U-Net | 1<!-- b.json: rows --> |", ["1: b.json: rows has nothing: FileNotFoundError"]),
    ],
)
def test_number_that_is_not_its_keys_is_found(
    line: str, faults: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"rows": [{"what": "mean IoU", "figure": "0.61 (36,000 crops)"}], "worst": 3e-06}
    (tmp_path / "a.json").write_text(json.dumps(result), encoding="utf-8")
    monkeypatch.setitem(globals(), "RESULTS", tmp_path)
    assert [fault[: len(start)] for fault, start in zip(faults_of(line), faults, strict=True)] == faults
