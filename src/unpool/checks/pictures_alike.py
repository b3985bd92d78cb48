"""Pictures that stand in both splits, subjects that do, and pictures that do not differ at all."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import cache
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.seen import Seen
from unpool.checks.setup import Setup
from unpool.checks.showing import of_pairs, of_samples
from unpool.data.contents import read_sha256
from unpool.data.likeness import are_copies
from unpool.tracing.foreign import foreign_code

LEAK_FAIL = 0.01  # of the pictures of validation
MOST_FILES = 20_000  # whose bytes are compared, where their sizes are equal
CLOSE = 0.98  # correlation from which two small copies are compared in full
NEARLY, REST = 0.9, 0.1  # correlation of details; of what the nearest pictures of others lack of 1
BLUR, ENOUGH = 7, 24  # pixels of the blur that is taken off; pictures of each split
CONSTANT_FAIL, CONSTANT_WARN = 0.5, 0.05  # of the pictures
PHOTOGRAPH, BARE, BARE_PART = 3.0, 1.3, 0.25  # bits of tones: in the median; of a picture of nothing; of the median
RARE, USUAL = 0.02, 200  # of the files, up to which a format is another kind; files that are asked for theirs
NOTICE = re.compile(
    "(not|un|in).?(found|available|valid)|missing|place.?holder|no.?(image|photo|picture)", re.IGNORECASE
)
SUBJECT_SHARE, LEAST_SUBJECTS = 0.8, 8  # of the pictures whose nearest one is of the same subject

LEAK = "Take the copies out of one split, and split before pictures are copied, mirrored or cut into crops."
SUBJECT = "Divide by subject (person, patient, video, place): all pictures of one go to the same split."
BLANK = "Look at the pictures that are named, and remove those that stand for a file that was not found."
CONSTANT = "Look at the files that are named: an index that is not used, a picture that stands for missing ones."


def look_copies(setup: Setup) -> list[Finding]:
    """Searches validation's pictures among those of training, mirrored ones too, and its files among theirs."""
    files = setup.train.files() or [], (setup.val.files() if setup.val is not None else None) or []
    if setup.val is not None and not setup.facts.get("enrolled") and (equal := _same_files(*files)):
        share = len(equal) / len(setup.val)
        about = f"{len(equal)} of {len(setup.val):,} files of validation are files of training, or equal to one of them"
        return [Finding(
            "fail" if share >= LEAK_FAIL else "warn", f"{about}: their score says what was learned by heart.", share,
            "data.leak", LEAK, tuple(f"{second} is {first}" for second, first in list(equal.items())[:6]),
        )]  # fmt: skip
    train, val = setup.seen, setup.seen_val
    if val is None or not len(train) or not len(val):
        return [not_applicable("give val=, a split of pictures, to compare it with training")]
    if train.small.shape[1] != val.small.shape[1]:
        return [not_applicable("the pictures of the two splits have other numbers of channels")]
    first, second = _thumbnails(train), _thumbnails(val)
    pairs = {j: i for flip in (False, True) for i, j in _copies(first, second[:, :, ::-1] if flip else second)}
    enrolled = set(setup.facts.get("enrolled", ()))  # of validation, which may be of training
    pairs = {j: i for j, i in pairs.items() if not val.indices or val.indices[j] not in enrolled}
    findings = [one for one in (_copied(setup, pairs), _nearly_copied(setup, pairs, enrolled)) if one is not None]
    about = f"0 of {len(val):,} pictures of validation are copies of {len(train):,} of training, or nearly so"
    groups = setup.facts.get("kept_together", ())
    kept = tuple(f"one picture, and kept in one split: {', '.join(group)}" for group in groups[:8])
    return findings or [passed(f"{about}.", 0.0, evidence=kept)]


def _copied(setup: Setup, pairs: Mapping[int, int]) -> Finding | None:
    """The copies among the pictures that were read, and those that the scan of a recipe saw among all."""
    train, val = setup.seen, setup.seen_val
    scanned = setup.facts.get("copies", ())
    if val is None or not (pairs or scanned):
        return None
    known = {name for _, name, _ in scanned}
    shown = [(i, j) for j, i in sorted(pairs.items()) if not any(val.where(j).endswith(name) for name in known)]
    evidence = [f"{second} is {first} ({how})" for first, second, how in scanned]
    evidence += [f"{val.where(j)} is {train.where(i)}" for i, j in shown]
    size = len(val.source) if scanned else len(val)
    number = len(known) + len(shown)
    share = number / max(size, 1)
    about = f"{number} of {size:,} pictures of validation are copies of pictures of training, or nearly so"
    return Finding(
        "fail" if share >= LEAK_FAIL else "warn", f"{about}: their score says what was learned by heart.", share,
        "data.leak", LEAK, tuple(evidence[:8]), of_pairs(train, val, [(i, j) for j, i in sorted(pairs.items())]),
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


def _nearly_copied(setup: Setup, copies: Mapping[int, int], enrolled: Set[int]) -> Finding | None:
    """Pairs that are no copies and far nearer than the nearest ones of this set are: one scene, taken twice."""
    train, val = setup.seen, setup.seen_val
    if val is None or min(len(train), len(val)) < ENOUGH or _middle(train.tones) < PHOTOGRAPH:
        return None
    best, partner = _nearest_details(train.grey, val.grey)
    others = float(best.quantile(0.9))
    is_near = (best >= NEARLY) & (1 - best <= REST * (1 - others))
    which = [j for j in is_near.nonzero().flatten().tolist() if j not in copies]
    which = [j for j in which if not val.indices or val.indices[j] not in enrolled]
    if not which:
        return None
    which.sort(key=lambda j: -float(best[j]))
    pairs = [(int(partner[j]), j) for j in which]
    return Finding(
        "warn", f"{len(which)} of {len(val):,} pictures of validation show what one of training shows, taken again: "
        f"details correlate by {NEARLY:g} or more, and by {others:.2f} at most in nine of ten others.",
        len(which) / len(val), "data.leak", LEAK,
        tuple(f"{val.where(j)} and {train.where(i)}: {best[j]:.2f}" for i, j in pairs[:8]),
        of_pairs(train, val, pairs),
    )  # fmt: skip


def _nearest_details(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The largest correlation of each second picture's details with a first one's, upright or mirrored, and which."""
    base = _unit(_details(first))
    ways = torch.stack([_unit(_details(one)) @ base.T for one in (second, second.flip(-1))])
    return ways.amax(0).max(1)


def _details(small: Tensor) -> Tensor:
    """(N, S, S) without their blur, which says where it is light, and is alike in many pictures."""
    edge = BLUR // 2
    return small - F.avg_pool2d(F.pad(small[:, None], (edge,) * 4, mode="reflect"), BLUR, 1)[:, 0]


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


def look_constant(setup: Setup) -> list[Finding]:
    """Counts training pictures that are equal to another one, or show nothing, and looks for single empty ones."""
    if not len(setup.seen):
        return [not_applicable("the inputs are no pictures")]
    splits = [one for one in (setup.seen, setup.seen_val) if one is not None]
    findings = [one for one in (_alike(setup.seen), *map(_bare, splits)) if one is not None]
    wrong = [one for one in findings if one.verdict != "pass"]
    return wrong or findings[:1]


def _bare(seen: Seen) -> Finding | None:
    """Files of another kind than the others that show hardly more than one tone, such as a notice for a missing one."""
    tones, files, middle = torch.tensor(seen.tones), seen.source.files(), _middle(seen.tones)
    if len(tones) < ENOUGH or files is None or not seen.indices or middle < PHOTOGRAPH:
        return None
    bare = (tones < min(BARE, BARE_PART * middle)).nonzero().flatten().tolist()
    if not bare:
        return None
    usual = Counter(_format(files[i]) for i in seen.source.drawn(USUAL))
    kinds = {i: _format(seen.where(i)) for i in bare}
    which = [i for i in bare if usual[kinds[i]] <= RARE * usual.total() or NOTICE.search(PurePath(seen.where(i)).stem)]
    if not which:
        return None
    return Finding(
        "warn", f"{len(which)} of {len(tones):,} pictures of {seen.source.name} show hardly more than one tone (their "
        f"tones hold {max(seen.tones[i] for i in which):.1f} bits, those of others {middle:.1f}), and their files are "
        "of another kind or name: they may stand for pictures that were not found.",
        len(which) / len(tones), "data.constant", BLANK,
        tuple(f"{seen.where(i)}: {kinds[i]}, {seen.tones[i]:.1f} bits" for i in which[:8]), of_samples(seen, which),
    )  # fmt: skip


def _middle(values: Sequence[float]) -> float:
    """The median; 0 of none."""
    return float(torch.tensor(values).median()) if values else 0.0


def _format(file: str) -> str:
    """The format that a file begins as, whatever its name says; empty where it is none that is known."""
    with foreign_code(), Image.open(file) as picture:
        return picture.format or ""
    return ""


def _alike(seen: Seen) -> Finding:
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
        of_samples(seen, which),
    )  # fmt: skip


def look_subjects(setup: Setup) -> Finding:
    """Compares identities, else the subjects that the names of files say, between the splits."""
    train, val = setup.seen, setup.seen_val
    if val is None or not len(train) or not len(val):
        return not_applicable("give val= to compare it with training")
    if setup.target_form == "vector":
        return _identities(setup, train, val)
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
        tuple(examples), of_pairs(train, val, list(zip(nearest, chosen, strict=True))),
    )  # fmt: skip


def _identities(setup: Setup, train: Seen, val: Seen) -> Finding:
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
    if setup.facts.get("enrolled"):
        return passed(
            f"{about}, and pictures of theirs are searched among, as where known people are recognised.", share
        )
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
        "32 x 32, stretched to its range; of a recipe also what its scan saw of all. Where both splits list a file for "
        "each sample, these are compared before, by their paths and bytes: augmentation hides copies. For pictures "
        f"taken again, the correlation of what {BLUR} pixels of blur leave of them.",
        threshold=f"Copies from {LEAK_FAIL:.0%} of validation fail, fewer warn. A correlation of {NEARLY:g} warns, "
        f"among photographs where what it lacks of 1 is less than {REST:g} of what nine of ten others lack.",
        origin="What JPEG of quality 50 at half the size changes of a picture, in its worst block (data/likeness); "
        "digits, and frames of a video, differ by more. Two photographs of one blood smear lie at 0.95 and all others "
        "of that set below 0.31; the nearest motorcycles of a catalogue lie at 0.95 too, and nine of ten below 0.82.",
        look=look_copies,
    ),
    Check(
        name="pictures differ",
        subject="data",
        causes={"data.constant": CONSTANT},
        symptom="The loss stays at that of a guess, or a class is learned by one picture.",
        measure="Training pictures that are equal to another one, or without contrast; in both splits pictures of "
        "hardly more than one tone, by the entropy of 64 tones, whose file has another format than the others or is "
        "named as a notice.",
        threshold=f"{CONSTANT_FAIL:.0%} fail; {CONSTANT_WARN:.0%} warn where one stands there five times. Any "
        f"such file below {BARE:g} bits and {BARE_PART:g} of the median warns, where that is {PHOTOGRAPH:g} or more.",
        origin="Counting; sets that were published have 3 % at most. The barest photograph of ten such sets holds "
        "1.2 bits, or 0.2 of the median, and is a JPEG file among others; the notice that a picture was not found in a "
        "public set of ants and bees holds as much, and is a GIF file.",
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
