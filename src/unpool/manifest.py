"""manifest.json of a run: size and sha256 of every file that is read again, so that none changes unnoticed.

A file is replaced in three writes: the manifest lists its old and its new sum, the file is replaced, the manifest lists
the new sum alone. So the file is one of those listed at every moment: for a reader beside the trainer, and after a kill
between any two writes. The manifest has a sum of its own content.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from unpool.errors import ModelFileError

NAME, FORMAT = "manifest.json", 1
LARGEST_BYTES = 16 << 20
ATTEMPTS = 20  # of a reader, while a trainer replaces the file
_SUM = "sha256"  # of all that stands beside it; a later format keeps it, so that damage and a newer version differ


class Sum(NamedTuple):
    """Size and sha256 of a file's content."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds.

    Attributes:
        sums: what each file may hold, None standing for no file; more than one only while the file is being replaced.
        recipe: values of the recipe, by section and key.
    """

    sums: Mapping[str, tuple[Sum | None, ...]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def with_sums(self, sums: Mapping[str, tuple[Sum | None, ...]]) -> "Manifest":
        return replace(self, sums={**self.sums, **sums})

    def dump(self) -> bytes:
        text = json.dumps({"format": FORMAT, "files": self.sums, "recipe": self.recipe}, allow_nan=False)
        values = json.loads(text)  # keys as the reader will have them
        return (json.dumps({**values, _SUM: _content_sum(values)}, indent=1, allow_nan=False) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run.

    Raises:
        ModelFileError: it is missing, damaged, or from a newer version.
    """
    path = folder / NAME
    data = _read(path, most=LARGEST_BYTES)
    if data is None:
        raise ModelFileError(
            f"{folder} holds no {NAME}, so nothing shows whether its files are those that its run wrote: the run is of "
            "an earlier version of Unpool, or was copied in part. Copy the whole folder, or train anew"
        )
    try:
        values = json.loads(data)
        claimed = values.pop(_SUM)
        if claimed != _content_sum(values):
            raise ValueError(f"its {_SUM} is of another content")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged ({error!r:.100}): copy the run anew from where it is whole") from error
    check_format(values.get("format"), FORMAT, source=path)
    sums = {
        name: tuple(None if entry is None else Sum(*entry) for entry in entries)
        for name, entries in values["files"].items()
    }
    return Manifest(sums, values["recipe"])


def check_format(value: object, known: int, *, source: object) -> None:
    """Raises ModelFileError if the format of `source` is not the known one: a newer version made it, or damage."""
    if type(value) is int and value > known:
        raise ModelFileError(
            f"{source} was made by a newer version of Unpool (format {value}, this one reads {known}): update Unpool"
        )
    if type(value) is not int or value != known:
        raise ModelFileError(f"{source} has format {value!r:.100} and should have {known}: it is damaged, copy it anew")


class Lookup(NamedTuple):
    """A file of a run beside what the manifest says.

    Attributes:
        data: the content; None where there is no file.
        manifest: of the run.
        is_listed: whether the manifest lists this content, or that there is none.
    """

    data: bytes | None
    manifest: Manifest
    is_listed: bool


def look_up(path: Path) -> Lookup:
    """Reads a file of a run once, and then the manifest; both again where a trainer replaced them in between.

    Raises:
        ModelFileError: the manifest is missing, damaged, or from a newer version.
    """
    before: Lookup | None = None
    for _ in range(ATTEMPTS):
        data = _read(path)
        manifest = read_manifest(path.parent)
        lookup = Lookup(data, manifest, _sum_of(data) in manifest.sums.get(path.name, (None,)))
        if lookup.is_listed or lookup == before:
            return lookup
        before = lookup
    raise ModelFileError(f"{path} changed {ATTEMPTS} times while it was read; try again")


def read_bound(path: Path) -> bytes:
    """The content of a file of a run, which is the content that the run wrote.

    Raises:
        ModelFileError: it is missing, was changed or damaged; or the manifest is, see `read_manifest`.
    """
    data, manifest, is_listed = look_up(path)
    if data is None and is_listed:
        raise ModelFileError(f"{path.parent} holds no {path.name}: the run did not get that far")
    if data is None or not is_listed:
        raise ModelFileError(_difference(path, _sum_of(data), manifest))
    return data


def differences(folder: Path) -> dict[str, str]:
    """A sentence for each file that is missing, or is not the one that the run wrote, by name.

    Raises:
        ModelFileError: the manifest is missing, damaged, or from a newer version.
    """
    wrong = _differences(folder)
    while wrong and (again := _differences(folder)) != wrong:  # a trainer has replaced a file meanwhile
        wrong = again
    return wrong


def _differences(folder: Path) -> dict[str, str]:
    manifest = read_manifest(folder)
    now = {name: _sum_of_file(folder / name) for name in manifest.sums}
    return {
        name: _difference(folder / name, now[name], manifest)
        for name, listed in manifest.sums.items()
        if now[name] not in listed
    }


def sum_of(data: bytes) -> Sum:
    """Size and sha256 of a content."""
    return Sum(len(data), hashlib.sha256(data).hexdigest())


def _sum_of_file(path: Path) -> Sum | None:
    """The same of a file of any size; None where there is none."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return Sum(file.tell(), sha256)
    except FileNotFoundError:
        return None


def _difference(path: Path, now: Sum | None, manifest: Manifest) -> str:
    listed = [entry for entry in manifest.sums.get(path.name, ()) if entry is not None]
    if now is None:
        return f"{path} is missing, and the run wrote it: copy it from where it is whole"
    if not listed:
        return f"{path} is no file that the run wrote: {NAME} does not list it; remove it"
    sizes = {entry.num_bytes for entry in listed}
    what = "its sha256 differs from that in" if now.num_bytes in sizes else f"it has {now.num_bytes} bytes and not"
    expected = NAME if now.num_bytes in sizes else f"the {max(sizes)} of {NAME}"
    return f"{path} is not the file that the run wrote: {what} {expected}. Copy it from where it is whole"


def _sum_of(data: bytes | None) -> Sum | None:
    return None if data is None else sum_of(data)


def _content_sum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(path: Path, *, most: int | None = None) -> bytes | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return file.read() if most is None else file.read(most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
