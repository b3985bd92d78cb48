"""Names are the field's words: some words, each used for several things, may not be names or parts of names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "unpool"
FILES = sorted(path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py"))
PRIVATE = {"told", "place", "places", "own", "come", "found", "given"}

NOT_YET = {  # files that still have such names, by folder; take a name out when the file is mended, add none
    f"{folder}/{name}.py".removeprefix("/") for folder, names in {}.items() for name in names.split()
}


def private_names(file: str, source: str) -> set[str]:
    """The names in a file, and its own, that have a private word as a part between underscores."""
    names = {*Path(file).with_suffix("").parts, *identifiers(ast.parse(source))}
    return {name for name in names if not PRIVATE.isdisjoint(name.lower().split("_"))}


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name that a file defines, uses or imports, and every attribute and keyword argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


@pytest.mark.parametrize("file", FILES)
def test_no_name_is_a_private_word(file):
    names = private_names(file, (SRC / file).read_text(encoding="utf-8"))
    if file in NOT_YET:
        assert names, f"{file} is mended: take it out of NOT_YET"
    else:
        assert names == set(), "use the field's words: index, position, path, options, prediction, output"


def test_files_that_are_not_yet_mended_exist():
    assert NOT_YET - set(FILES) == set()


@pytest.mark.parametrize(
    "source",
    [
        *("def _told(): ...", "class Place: ...", "own = 1", "self.found_maps", "f(given=1)"),
        *("def f(*, known_place): ...", "from unpool import places", "import x as come"),
    ],
)
def test_private_word_is_seen_wherever_a_name_can_stand(source):
    assert len(private_names("x.py", source)) == 1


def test_other_words_and_texts_may_hold_the_letters():
    assert private_names("x.py", "replace = known(placement, income, 'given', FileNotFoundError)") == set()
    assert private_names("places.py", "") == {"places"}
