"""Files of pictures are whole, also where the caller's own code would read them if they were not."""

import time
from collections.abc import Mapping, Sequence

from PIL import Image, ImageFile

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import Source
from unpool.tracing.foreign import foreign_code

MOST, SECONDS = 500, 4.0  # files of a split, and the time for them
RARE = 0.02  # of the files, up to which those of one format are named
NOTED = {  # what readers say of things that they leave out, and what is wrong
    "have no extent": "data.box_invalid",
    "lie beside their image": "data.box_invalid",
}

MEND = "Copy or download the named files again, or remove them; and do not set ImageFile.LOAD_TRUNCATED_IMAGES."
LEFT_OUT = "Mend or remove what is named; the reader leaves it out, and the set is smaller than it seems."


def look_files(setup: Setup) -> Finding:
    """Decodes the files of both splits to their last byte."""
    sources = [one for one in (setup.train, setup.val) if one is not None and one.files() is not None]
    if not sources:
        return not_applicable("the data sets list no files, as torchvision's folders do in `samples`")
    read, broken = 0, []
    kinds: dict[str, list[str]] = {}
    for source in sources:
        count, faults = _faults(source, kinds)
        read, broken = read + count, broken + faults
    about = f"{len(broken)} of {read:,} files that were decoded are damaged or no pictures"
    if not broken:
        counted = ", ".join(f"{len(files):,} {kind}" for kind, files in kinds.items())
        return passed(f"{about} ({counted}).", 0.0, evidence=_rare(kinds, read))
    return Finding("fail", f"{about}: what is missing is filled with "
    f"grey.", len(broken) / read, "data.unreadable", MEND,
                   tuple(broken[:8]))  # fmt: skip


def _rare(kinds: Mapping[str, Sequence[str]], read: int) -> tuple[str, ...]:
    """Files of a format that few others have: not all readers take it, torchvision's folders no GIF."""
    rare = {kind: files for kind, files in kinds.items() if len(files) <= RARE * read}
    return tuple(f"{file} is {kind}" for kind, files in rare.items() for file in files[:4])


def _faults(source: Source, kinds: dict[str, list[str]]) -> tuple[int, list[str]]:
    files = source.files() or []
    deadline = time.monotonic() + SECONDS
    allowed, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    read, faults = 0, []
    try:
        for index in source.drawn(MOST):
            with foreign_code() as failure, Image.open(files[index]) as picture:
                kinds.setdefault(picture.format or "of no name", []).append(files[index])
                picture.load()
            read += 1
            if failure:
                faults.append(f"{files[index]}: {failure}")
            if time.monotonic() > deadline:
                break
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    return read, faults


def look_left_out(setup: Setup) -> list[Finding] | Finding:
    """Repeats what the readers of a recipe left out."""
    notes, skipped = setup.facts.get("notes"), setup.facts.get("skipped", ())
    if notes is None:
        return not_applicable("the data is not read by a recipe")
    findings = []
    for cause in dict.fromkeys(NOTED.values()):
        said = [note for note in notes if any(phrase in note for phrase in NOTED if NOTED[phrase] == cause)]
        if said:
            about = said[0] + (f", and {len(said) - 1} more such notes" if len(said) > 1 else "")
            findings.append(Finding("warn", about, float(len(said)), cause, LEFT_OUT, tuple(said)))
    if skipped:
        text = f"{len(skipped)} files cannot be read and are left out."
        findings.append(Finding("warn", text, float(len(skipped)), "data.unreadable", LEFT_OUT, tuple(skipped[:8])))
    about = f"The readers left out nothing and noted {len(notes)} oddities."
    return findings or passed(about, 0.0, evidence=notes[:8])


CHECKS = (
    Check(
        name="files are whole",
        subject="data",
        causes={"data.unreadable": MEND},
        symptom="The run stops at an image file is truncated, or learns from pictures that are grey below.",
        measure=f"Up to {MOST} files of each split are decoded to their end, without Pillow's leave to stop before it.",
        threshold="Any file that cannot be decoded.",
        origin="Exact.",
        look=look_files,
    ),
    Check(
        name="readers leave nothing out",
        subject="data",
        causes={"data.box_invalid": LEFT_OUT, "data.unreadable": LEFT_OUT},
        symptom="The set is smaller than it seems.",
        measure="What a recipe's reader left out or cut off of a set that it takes all the same.",
        threshold="Boxes left out, and files that cannot be read, warn; too many of them are an error before.",
        origin="Exact.",
        look=look_left_out,
        is_quick=True,
    ),
)
