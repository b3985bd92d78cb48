"""Single-line mistakes that nobody chose, drawn by a seed over all files that compute."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.mutants.listed import computing_files
from benchmarks.mutants.mutators import Edit, edits

EQUIVALENT_KEYS = {"file", "old", "new", "why"}


@dataclass
class Drawn:
    """A drawn mistake and what became of it.

    Attributes:
        old: the lines that hold it, in one line with single spaces.
        new: the same with the mistake.
        result: "open"; "nearby" where the nearest tests let it live, "survived" where the whole suite did; "killed";
            "gone" where the source was changed since.
        by: the test that noticed it, or how the tests ended.
        is_again: it lived once, and was taken up again since tests were written.
    """

    file: str
    edit: Edit
    old: str
    new: str
    result: str = "open"
    by: str = ""
    is_again: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.edit.line}  {self.edit.operator}: {self.old[:110]}  ->  {self.new[:110]}"


def draw(root: Path, *, count: int, seed: int) -> list[Drawn]:
    """`count` mistakes: each operator equally often as far as it goes, drawn among all its positions in the source."""
    by_operator: dict[str, list[tuple[str, Edit]]] = {}
    texts = {file: (root / file).read_text(encoding="utf-8") for file in computing_files(root)}
    for file, text in texts.items():
        for edit in edits(text):
            by_operator.setdefault(edit.operator, []).append((file, edit))
    generator = random.Random(seed)
    for operator in sorted(by_operator):
        generator.shuffle(by_operator[operator])
    drawn: list[Drawn] = []
    while len(drawn) < count and any(by_operator.values()):
        for operator in sorted(by_operator):
            if by_operator[operator] and len(drawn) < count:
                file, edit = by_operator[operator].pop()
                drawn.append(Drawn(file, edit, *_lines(texts[file], edit)))
    return drawn


def _lines(text: str, edit: Edit) -> tuple[str, str]:
    data = text.encode()
    first, last = data.rfind(b"\n", 0, edit.start) + 1, data.find(b"\n", edit.stop)
    rest = data[edit.stop : last if last >= 0 else None].decode()
    before = data[first : edit.start].decode()
    old, new = (" ".join((before + middle + rest).split()) for middle in (edit.before, edit.text))
    return old, new


def restored(root: Path, details: Iterable[dict[str, Any]]) -> list[Drawn]:
    """Mistakes from a file of results, each where its line is now; a line that was changed since makes it gone."""
    drawn = [Drawn(**{**one, "edit": Edit(**one["edit"])}) for one in details]
    texts = {one.file: path.read_text(encoding="utf-8") for one in drawn if (path := root / one.file).is_file()}
    current = {file: edits(text) for file, text in texts.items()}
    for one in drawn:
        same = [edit for edit in current.get(one.file, []) if _is_same(edit, one, texts[one.file])]
        if same:
            one.edit = min(same, key=lambda edit: abs(edit.start - one.edit.start))
        else:
            one.result = "gone"
    return drawn


def _is_same(edit: Edit, one: Drawn, text: str) -> bool:
    moved = replace(edit, line=one.edit.line, start=one.edit.start, stop=one.edit.stop)
    return moved == one.edit and _lines(text, edit) == (one.old, one.new)


def read_equivalent(path: Path) -> list[dict[str, str]]:
    """The listed mistakes with which the program behaves the same: file, old line, new line, and why.

    Raises:
        ValueError: a row has other keys.
    """
    rows = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")) if path.is_file() else None
    for number, row in enumerate(rows or [], 1):
        if set(row) != EQUIVALENT_KEYS:
            raise ValueError(f"{path.name}, row {number}: has {', '.join(row)}; needs file, old, new, why")
    return rows or []


def reason(one: Drawn, equivalent: Sequence[dict[str, str]]) -> str:
    """Why this mistake changes nothing that can be seen; empty where it is not listed."""
    return next(
        (row["why"] for row in equivalent if (row["file"], row["old"], row["new"]) == (one.file, one.old, one.new)), ""
    )


def groups(drawn: Sequence[Drawn]) -> list[list[Drawn]]:
    """The mistakes in as few groups as it takes that no two of a group edit the same text."""
    parted: list[list[Drawn]] = []
    for one in drawn:
        group = next((group for group in parted if not any(_overlap(one, other) for other in group)), None)
        if group is None:
            parted.append(group := [])
        group.append(one)
    return parted


def _overlap(one: Drawn, other: Drawn) -> bool:
    return one.file == other.file and one.edit.start < other.edit.stop and other.edit.start < one.edit.stop


def planted(root: Path, group: Sequence[Drawn]) -> dict[str, str]:
    """The text of each file with all mistakes of a group in it."""
    texts = {one.file: (root / one.file).read_text(encoding="utf-8") for one in group}
    for one in sorted(group, key=lambda one: -one.edit.start):
        texts[one.file] = one.edit.apply(texts[one.file])
    return texts
