"""Class names: matched between splits, runs and files, and drawn apart into training and validation."""

import difflib
import hashlib
import unicodedata
from collections.abc import Sequence

from unpool.data.image_file import printable
from unpool.errors import DataError, quoted, shortened


def nfc(text: str) -> str:
    """The name composed (NFC) and printable, so that one written on a Mac equals itself elsewhere."""
    return printable(unicodedata.normalize("NFC", text))


def match(names: Sequence[str], wanted: Sequence[str], where: str) -> tuple[int, ...]:
    """Index in `wanted` of each name in `names`.

    Raises:
        DataError: some names are not in `wanted`; lists all of them.
    """
    index = {nfc(name): i for i, name in enumerate(wanted)}
    unknown = [name for name in names if nfc(name) not in index]
    if unknown:
        near = [difflib.get_close_matches(shortened(nfc(name)), index, n=1) for name in unknown[:20]]
        named = [
            quoted(name) + (f" (did you mean {quoted(n[0])}?)" if n else "")
            for name, n in zip(unknown, near, strict=False)
        ]
        known = ", ".join(map(quoted, list(wanted)[:20])) + (", ..." if len(wanted) > 20 else "")
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise DataError(f"{where}: unknown classes {', '.join(named)}{more}; expected names among {known}")
    return tuple(index[nfc(name)] for name in names)


def require_equal(classes: Sequence[str], train: Sequence[str], where: str, *, split: str) -> None:
    """Raises DataError with the names that differ where the classes of a split are not those of training."""
    unknown = sorted(set(classes) - set(train))
    lacking = sorted(set(train) - set(classes))
    if unknown or lacking:
        differences = [f"{quoted(name)} is in {split} only" for name in unknown]
        differences += [f"{quoted(name)} is in train only" for name in lacking]
        raise DataError(
            f"{where}: the classes of train and {split} differ: {'; '.join(differences)}; rename, add or remove them"
        ).of("data.class_one_split")


def require_two(classes: Sequence[str], where: str) -> None:
    """Raises DataError where there are fewer than two classes."""
    if len(classes) < 2:
        named = f": {quoted(classes[0])}" if classes else ""
        count = f"{len(classes)} class" if len(classes) == 1 else f"{len(classes)} classes"
        raise DataError(f"{where}: {count} found{named}; the set needs at least 2, one folder each")


def case_clashes(classes: Sequence[str]) -> tuple[str, ...]:
    """Pairs of class names that differ in case or in spaces only, as sentences."""
    folded: dict[str, str] = {}
    sentences = []
    for name in classes:
        other = folded.setdefault("".join(name.casefold().split()), name)
        if other != name:
            what = "case" if other.casefold() == name.casefold() else "spaces"
            sentences.append(f"classes {quoted(other)} and {quoted(name)} differ in {what} only")
    return tuple(sentences)


def held_out(
    names: Sequence[str], *, share: float, seed: int, least: int = 0, together: Sequence[Sequence[str]] = ()
) -> set[str]:
    """`share` of the names, rounded to the nearest number: a pure function of the names and the seed.

    Names are ordered by a hash, so that one file more moves at most one other between the parts. Of two names or more,
    `least` at least are held out. Each group of `together` is held out as a whole, where that holds out no more names,
    or not at all; one of which some names are not in `names` is not, unless all names are.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{nfc(name)}".encode()).digest())
    count = max(int(len(names) * share + 0.5), least if len(names) > 1 else 0)
    if not together or count == len(ordered):
        return set(ordered[:count])
    group_of = {name: tuple(group) for group in together for name in group}
    units = list(dict.fromkeys(group_of.get(name, (name,)) for name in ordered))
    units = [unit for unit in units if set(unit) <= set(ordered)]
    held: set[str] = set()
    for unit in units:
        held |= set(unit) if len(held) + len(unit) <= count else set()
    if not held and count and len(units) > 1:
        held = set(min(units, key=len))
    return held
