"""Pictures that stand in both splits, subjects that do, and pictures that do not differ at all."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.seen import Seen
from unpool.checks.setup import Setup
from unpool.data.contents import read_sha256
from unpool.data.likeness import are_copies

LEAK_FAIL = 0.01  # of the pictures of validation
MOST_FILES = 20_000  # whose bytes are compared, where their sizes are equal
CLOSE = 0.98  # correlation from which two small copies are compared in full
CONSTANT_FAIL, CONSTANT_WARN = 0.5, 0.05  # of the pictures
SUBJECT_SHARE, LEAST_SUBJECTS = 0.8, 8  # of the pictures whose nearest one is of the same subject

LEAK = "Take the copies out of one split, and split before pictures are copied, mirrored or cut into crops."
SUBJECT = "Divide by subject (person, patient, video, place): all pictures of one go to the same split."
CONSTANT = "Look at the files that are named: an index that is not used, a picture that stands for missing ones."


def look_copies(setup: Setup) -> list[Finding] | Finding:
    """Searches validation's pictures among those of training, mirrored ones too, and its files among theirs."""
    if setup.val is not None and (same := _same_files(setup.train.files() or [], setup.val.files() or [])):
        share = len(same) / len(setup.val)
        about = f"{len(same)} of {len(setup.val):,} files of validation are files of training, or equal to one of them"
        return Finding(
            "fail" if share >= LEAK_FAIL else "warn", f"{about}: their score says what was learned by heart.", share,
            "data.leak", LEAK, tuple(f"{second} is {first}" for second, first in list(same.items())[:6]),
        )  # fmt: skip
    train, val = setup.seen, setup.seen_val
    if val is None or not len(train) or not len(val):
        return not_applicable("give val=, a split of pictures, to compare it with training")
    if train.small.shape[1] != val.small.shape[1]:
        return not_applicable("the pictures of the two splits have other numbers of channels")
    first, second = _thumbnails(train), _thumbnails(val)
    pairs = {j: i for flip in (False, True) for i, j in _copies(first, second[:, :, ::-1] if flip else second)}
    share = len(pairs) / len(val)
    about = (
        f"{len(pairs)} of {len(val):,} pictures of validation are copies of {len(train):,} of training, or nearly so"
    )
    if not pairs:
        return passed(f"{about}.", 0.0)
    shown = sorted(pairs.items())[:6]
    evidence = tuple(f"{val.where(j)} is {train.where(i)}" for j, i in shown)
    pictures = tuple(
        (label, seen.shown(k))
        for j, i in shown[:2]
        for label, seen, k in (("of training", train, i), ("of validation", val, j))
    )
    return Finding(
        "fail" if share >= LEAK_FAIL else "warn", f"{about}: their score says what was learned by heart.", share,
        "data.leak", LEAK, evidence, pictures,
    )  # fmt: skip


def _same_files(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Which file of the first list each of the second is, or has the bytes of: augmented pictures hide their copies."""
    if len(set(first)) < len(first) or len(set(second)) < len(second):  # one file holds many samples
        return {}
    paths = {str(Path(name).absolute()): name for name in first}
    listed = {name: paths[path] for name in second if (path := str(Path(name).absolute())) in paths}
    if listed or len(first) + len(second) > MOST_FILES:
        return listed
    by_size: dict[int, list[str]] = {}
    for name in first:
        by_size.setdefault(_size(name), []).append(name)
    sums = cache(lambda name: read_sha256(Path(name)))
    alike = [(name, other) for name in second for other in by_size.get(_size(name), []) if _size(name)]
    return {name: other for name, other in reversed(alike) if sums(name) == sums(other)}


def _size(name: str) -> int:
    """Bytes of a file; 0 where it is not there, which another check says."""
    path = Path(name)
    return path.stat().st_size if path.is_file() else 0


def _thumbnails(seen: Seen) -> NDArray[np.uint8]:
    """(N, 32, 32) bytes, from the least to the largest value of the split, so that normalisation makes no odds."""
    grey = seen.grey
    low, high = (torch.tensor([float(f(image.mean(0))) for image in seen.images]) for f in (torch.min, torch.max))
    low, high = torch.minimum(low.min(), grey.min()), torch.maximum(high.max(), grey.max())
    return ((grey - low) / (high - low).clamp_min(1e-6) * 255).round().byte().numpy()


def _copies(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> list[tuple[int, int]]:
    near = (_unit(torch.from_numpy(first)) @ _unit(torch.from_numpy(second.copy())).T >= CLOSE).nonzero().numpy()
    if not len(near):
        return []
    close = are_copies(first[near[:, 0]], second[near[:, 1]])
    return [(int(i), int(j)) for i, j in near[close]]


def _unit(pictures: Tensor) -> Tensor:
    flat = pictures.float().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)


def look_constant(setup: Setup) -> Finding:
    """Counts training pictures that are equal to another one, or show nothing."""
    seen = setup.seen
    if not len(seen):
        return not_applicable("the inputs are no pictures")
    keys = [row.tobytes() for row in seen.small.numpy()]
    twins = Counter(keys)
    same = [twins[key] > 1 for key in keys]
    spread = seen.small.flatten(1).std(1)
    typical = float(spread.median())
    empty = (spread <= 0.02 * typical).tolist() if typical > 0 else [True] * len(seen)
    share = sum(a or b for a, b in zip(same, empty, strict=True)) / len(seen)
    about = f"{share:.1%} of {len(seen):,} training pictures are equal to another one or show nothing"
    most = twins.most_common(1)[0][1]
    if share < CONSTANT_WARN or (most < 5 and sum(empty) < 5):
        return passed(f"{about}.", share)
    which = [i for i, (a, b) in enumerate(zip(same, empty, strict=True)) if a or b]
    return Finding(
        "fail" if share >= CONSTANT_FAIL else "warn", f"{about}; one of them stands there {most} times.", share,
        "data.constant", CONSTANT, tuple(seen.where(i) for i in which[:8]),
        tuple((seen.where(i), seen.shown(i)) for i in which[:2]),
    )  # fmt: skip


def look_subjects(setup: Setup) -> Finding:
    """Compares identities, else the subjects that the names of files say, between the splits."""
    train, val = setup.seen, setup.seen_val
    if val is None or not len(train) or not len(val):
        return not_applicable("give val= to compare it with training")
    if setup.target_form == "vector":
        return _identities(train, val)
    first, second = _subjects(train), _subjects(val)
    if first is None or second is None:
        return not_applicable("the data sets list no files (samples of an ImageFolder) whose names tell subjects")
    shared = set(first) & set(second)
    chosen = [j for j, subject in enumerate(second) if subject in shared]
    if len(shared) < LEAST_SUBJECTS or len(chosen) < LEAST_SUBJECTS:
        return passed(f"{len(shared)} groups of file names stand in both splits.", 0.0)
    alike = _unit(val.grey[chosen]) @ _unit(train.grey).T
    nearest = alike.argmax(1).tolist()
    right = sum(first[i] == second[j] for i, j in zip(nearest, chosen, strict=True)) / len(chosen)
    sizes = Counter(first)
    guess = sum(sizes[second[j]] for j in chosen) / len(chosen) / len(train)
    about = (
        f"{len(shared)} subjects, by the names of files, stand in both splits, and of {right:.0%} of their pictures in "
        f"validation the nearest one of training shows the same (by chance {guess:.0%})"
    )
    if right < SUBJECT_SHARE or guess > 0.1:
        return passed(f"{about}.", right)
    examples = [f"{val.where(j)} and {train.where(i)}" for i, j in zip(nearest, chosen, strict=True)][:6]
    return Finding(
        "fail", f"{about}: the score says how well subjects are recognised.", right, "data.subject_leak", SUBJECT,
        tuple(examples),
    )  # fmt: skip


def _identities(train: Seen, val: Seen) -> Finding:
    if train.numbers is None or val.numbers is None or train.numbers.dim() != 1 or val.numbers.dim() != 1:
        return not_applicable("the targets are no identities")
    if train.numbers.is_floating_point() or len(train.numbers.unique()) <= 2:
        return not_applicable("the targets are no identities")
    first, second = set(train.numbers.tolist()), set(val.numbers.tolist())
    shared = sorted(first & second)
    about = f"{len(shared)} of {len(second)} identities of validation are learned in training"
    share = len(shared) / len(second)
    if share < SUBJECT_SHARE:
        return passed(f"{about}.", share)
    return Finding(
        "warn", f"{about}: their distances do not say how strangers are told apart.", share, "data.subject_leak",
        SUBJECT, tuple(f"identity {one}" for one in shared[:8]),
    )  # fmt: skip


def _subjects(seen: Seen) -> list[str] | None:
    """The name of each file without its last number, where that still tells several apart within a folder."""
    if seen.source.files() is None or not seen.indices:
        return None
    names = [PurePath(seen.where(i)) for i in range(len(seen))]
    keys = [f"{path.parent.name}/{re.sub(r'[0-9]+(?!.*[0-9])', '', path.stem)}" for path in names]
    has_number = [bool(re.search(r"[0-9]", key.partition("/")[2])) for key in keys]
    return keys if all(has_number) else None


CHECKS = (
    Check(
        name="no picture stands in both splits",
        subject="data",
        causes={"data.leak": LEAK},
        symptom="Validation is better than it should be, and new pictures are answered worse.",
        measure="Every picture of validation that was read, upright and mirrored, against those of training: luma at "
        "32 x 32, stretched to its range. Where both splits list a file for each sample, these are compared before, by "
        "their paths and bytes: augmentation hides copies.",
        threshold=f"Copies from {LEAK_FAIL:.0%} of validation fail, fewer warn.",
        origin="What JPEG of quality 50 at half the size changes of a picture, in its worst block (data/likeness); "
        "digits, and frames of a video, differ by more.",
        look=look_copies,
    ),
    Check(
        name="pictures differ",
        subject="data",
        causes={"data.constant": CONSTANT},
        symptom="The loss stays at that of a guess, or a class is learned by one picture.",
        measure="Training pictures that are equal to another one, or without contrast.",
        threshold=f"{CONSTANT_FAIL:.0%} fail; {CONSTANT_WARN:.0%} warn where one stands there five times.",
        origin="Counting; sets that were published have 3 % at most.",
        look=look_constant,
    ),
    Check(
        name="no subject stands in both splits",
        subject="data",
        causes={"data.subject_leak": SUBJECT},
        symptom="Validation is good, and people, patients or places that are new are answered badly.",
        measure="Identities in both splits; else groups of files by their names, and whether the nearest training "
        "picture of each of validation is of its group.",
        threshold=(
            f"{SUBJECT_SHARE:.0%} of the pictures, of {LEAST_SUBJECTS} subjects at least: names alone do not count."
        ),
        origin="Chance is a tenth at most; in sets divided by subject no group stands in both.",
        look=look_subjects,
    ),
)
