"""Damaged pictures and masks, in sets held in memory and streamed: read the same in both, or refused by name."""

import hashlib
import json
import random
import resource
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fuzzing import picture_files
from benchmarks.fuzzing.runs import RUNS, SMALL, finished
from benchmarks.fuzzing.verdict import REFUSED, SAME, Answer, Verdict, answer, fault_of
from unpool import run
from unpool.assemble.data import read_data
from unpool.data.image_file import Unreadable
from unpool.errors import DataError
from unpool.recipe import load_recipe
from unpool.recipe.settings import Data
from unpool.types import Samples

TRAIN_EVERY = 5  # every so many cases the set is trained on, held and streamed
GOOD = 7  # whole pictures beside the damaged one
MOST_MIB = 1024  # that a case may add to the highest memory
MODES = {
    "held": {"data.memory": True},
    "streamed": {"data.memory": False},
    "headers": {"data.memory": False, "data.verify": "headers"},
}


class Seen(NamedTuple):
    """What a mode made of a set: an error, or the samples' prints by name and the names of those skipped."""

    refused: str
    prints: dict[str, str]
    skipped: dict[str, str]


class Pictures:
    """Cases by number; `work` holds a finished run that predicts."""

    limit_s = 60.0

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self.peace = finished("segmentation", work)
        self.modes = {name: mode for name, mode in MODES.items() if name != "headers" or "verify" in Data.model_fields}
        self.highest_mib = _highest_mib()

    def case(self, number: int) -> Verdict:
        rng = random.Random(f"pictures {self.seed} {number}")
        is_mask = rng.random() < 0.4
        form = rng.choice([*(picture_files.MASKS if is_mask else picture_files.IMAGES)])
        made = picture_files.mask(rng, form) if is_mask else picture_files.picture(rng, form)
        written, damage = picture_files.damaged(made, rng)
        root, path = self._set(rng, written, is_mask=is_mask)
        where = f"{'mask' if is_mask else 'image'}, {damage}"
        verdict = self._judge(root, path, number=number, is_mask=is_mask)
        memory_mib, self.highest_mib = _highest_mib() - self.highest_mib, max(self.highest_mib, _highest_mib())
        if memory_mib > MOST_MIB:
            verdict = ("memory", f"{memory_mib:.0f} MiB more than before")
        outcome, detail = verdict
        return Verdict(outcome, where, f"{form}, {path.name}, {len(written.data)} bytes: {detail}" if detail else "")

    def _set(self, rng: random.Random, written: picture_files.Written, *, is_mask: bool) -> tuple[Path, Path]:
        """Folders of whole files beside the damaged one, which is named `odd`, and its path."""
        root = self.work / "set"
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        (root / "classes.txt").write_text("ground\nplant\n", encoding="utf-8")
        draw = random.Random(rng.randrange(2**32))
        for name in [*map(str, range(GOOD)), "odd"]:
            image, mask = picture_files.picture(draw, "png"), picture_files.mask(draw, "png grey")
            (root / "images" / f"{name}.png").write_bytes(image.data)
            (root / "masks" / f"{name}.png").write_bytes(mask.data)
        folder = root / ("masks" if is_mask else "images")
        (folder / "odd.png").unlink()
        path = folder / f"odd.{written.suffix}"
        path.write_bytes(written.data)
        return root, path

    def _judge(self, root: Path, path: Path, *, number: int, is_mask: bool) -> tuple[str, str]:
        seen = {}
        for name, mode in self.modes.items():
            given = answer(lambda mode=mode: self._read(root, mode))
            if fault := fault_of(given):
                return fault[0], f"{name}: {fault[1]}"
            seen[name] = given.value or Seen(given.message, {}, {})
        if wrong := _differences(seen, path.stem):
            return "silently other", wrong
        if not is_mask and (wrong := self._predict(path)):
            return wrong
        if number % TRAIN_EVERY == 0 and (wrong := self._train(root)):
            return wrong
        held = seen["held"]
        return (REFUSED, "") if held.refused or held.skipped else (SAME, "")

    def _read(self, root: Path, mode: dict[str, Any]) -> Seen:
        data = read_data(
            load_recipe("folder_unet", {**SMALL, **RUNS["segmentation"][3], **mode, "data.root": str(root)})
        )
        prints, skipped = {}, {}
        for result in (data.train, data.val):
            skipped |= {fault.path: fault.reason for fault in result.faults}
            for index, name in enumerate(result.samples.names):
                try:
                    prints[name] = _print_of_sample(result.samples, index)
                except (Unreadable, DataError) as error:
                    skipped[name] = str(error)
        return Seen("", prints, skipped)

    def _predict(self, path: Path) -> tuple[str, str] | None:
        out = self.work / "pictures-out"
        shutil.rmtree(out, ignore_errors=True)
        given = answer(lambda: run.predict(self.peace.run, [path], out))
        if fault := fault_of(given):
            return fault[0], f"predict: {fault[1]}"
        if given.code and path.name not in given.message:
            return "message", f"predict does not name the file: {given.message}"
        return None

    def _train(self, root: Path) -> tuple[str, str] | None:
        prints = {}
        for name, mode in self.modes.items():
            directory = self.work / "pictures-run"
            shutil.rmtree(directory, ignore_errors=True)
            small = {**SMALL, **RUNS["segmentation"][3], **mode, "data.root": str(root), "train.epochs": 1}
            given: Answer = answer(lambda small=small, at=directory: run.train("folder_unet", small, run=at))
            if fault := fault_of(given):
                return fault[0], f"train, {name}: {fault[1]}"
            weights = directory / "model.safetensors"
            prints[name] = "" if given.code else hashlib.sha256(weights.read_bytes()).hexdigest()
        if prints["held"] != prints["streamed"]:
            return "silently other", f"weights of held and streamed sets: {json.dumps(prints)}"
        return None


def _differences(seen: dict[str, Seen], odd: str) -> str:
    """What streamed modes made otherwise than the held one; empty where they agree, or name the file."""
    held = seen["held"]
    for name, other in seen.items():
        for refused in (held.refused, other.refused):
            if refused and odd not in refused:
                return f"{name} refuses the set without the file's name: {refused}"
        wrong = [key for key in held.prints.keys() & other.prints.keys() if held.prints[key] != other.prints[key]]
        if wrong:
            return f"{name} reads {wrong} otherwise"
        if name != "headers" and (bool(held.refused), held.prints.keys()) != (bool(other.refused), other.prints.keys()):
            return f"held: {held.refused or held.skipped}; {name}: {other.refused or other.skipped}"
        if held.prints and not other.refused and len(other.prints) + len(other.skipped) < GOOD:
            return f"{name} has lost samples: {sorted(other.prints)}"
    return ""


def _print_of_sample(samples: Samples, index: int) -> str:
    sample = samples[index]
    return hashlib.sha256(b"".join(sample[key].numpy().tobytes() for key in ("image", "mask"))).hexdigest()


def _highest_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cases(work: Path, seed: int) -> Pictures:
    """As `child.serve` asks for."""
    return Pictures(work, seed)
