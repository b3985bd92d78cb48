"""What augmentation does to pictures: strength, meaning, validation, and the numbers that it draws."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.checks.augmenter import Augmenter, augmenter_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.seen import as_image, read_twice, same, shrunk
from unpool.checks.setup import Setup
from unpool.checks.showing import Shown, as_bytes
from unpool.checks.simple_learner import features_of
from unpool.checks.source import Source, split
from unpool.data.seeding import private_states, seed_generators, shared_restored, shared_states
from unpool.tracing.foreign import foreign_code

SHARE = 0.16  # of the time that is left, for four pictures of each sample
BLOCKS, DRAWS = 8, 7
SEEN_FAIL = 0.12  # of 64 blocks of the picture, in the median draw
LIKE_FAIL, WHITE = 0.15, 0.25  # correlation of noisy and clean picture; of neighbouring pixels of the noisy one
WORSE, SURE = 0.02, 3.0  # of the answers; of the binomial deviation

WEAKER = "Look at augmented pictures yourself: make crops larger, noise and erasing weaker, until you can tell them."
MEANING = "Leave out the mirror or turn; for digits and letters use small shifts and turns."
PLAIN = "Give validation a data set of its own with a transform that draws nothing; random_split shares one."
ANEW = (
    "Take random numbers from torch's generator, which each worker and epoch seeds anew, and seed none in __getitem__."
)


def look_strength(setup: Setup) -> Finding:
    """Measures which part of a picture still has an influence on its augmented one."""
    if setup.target_form == "picture":
        return _of_noise(setup)
    augmenter = augmenter_of(setup)
    if augmenter is None:
        return not_applicable("give augment=, the function that changes (image, target) of a training sample")
    if setup.target_form not in ("class", "flags", "vector"):
        return not_applicable("the targets have a place in the picture, so that crops may be small")
    hits: list[float] = []
    deadline = time.monotonic() + setup.budget.share_s(SHARE) / 2
    while len(hits) < min(DRAWS, augmenter.count) and (len(hits) < 3 or time.monotonic() < deadline):
        hits.append(_part_seen(augmenter, len(hits)))
    shares = torch.tensor(hits)
    middle = float(shares.median())
    about = f"An augmented picture shows {middle:.0%} of its original, by the median of {len(shares)} draws"
    if middle >= SEEN_FAIL:
        return passed(f"{about}.", middle)
    picture, target = augmenter.raw(0)
    after, _ = augmenter.changed(0, picture, target, 0)
    return Finding(
        "fail", f"{about}: its label can hardly be told from that.", middle, "augment.too_strong", WEAKER,
        tuple(f"draw {draw}: {share:.0%}" for draw, share in enumerate(shares.tolist())),
        (("before", as_bytes(picture)), ("after", as_bytes(after))),
    )  # fmt: skip


def _part_seen(augmenter: Augmenter, draw: int) -> float:
    """The part of 8 x 8 blocks whose inversion changes the augmented picture of the same draw."""
    picture, target = augmenter.raw(draw)
    before, _ = augmenter.changed(draw, picture, target, draw)
    low, high = picture.min(), picture.max()
    range_after = float(before.max() - before.min()) or 1.0
    height, width = picture.shape[-2:]
    seen = 0
    for block in range(BLOCKS * BLOCKS):
        row, column = divmod(block, BLOCKS)
        rows = slice(row * height // BLOCKS, max((row + 1) * height // BLOCKS, row * height // BLOCKS + 1))
        columns = slice(column * width // BLOCKS, max((column + 1) * width // BLOCKS, column * width // BLOCKS + 1))
        other = picture.clone()
        part = picture[..., rows, columns]
        other[..., rows, columns] = torch.where(part - low > high - part, low, high)
        after, _ = augmenter.changed(draw, other, target, draw)
        seen += after.shape != before.shape or bool((after - before).abs().max() > 0.1 * range_after)
    return seen / BLOCKS**2


def _of_noise(setup: Setup) -> Finding:
    seen = setup.seen
    if not seen.images or seen.numbers is None or seen.numbers.shape[1:] != seen.images[0].shape:
        return not_applicable("inputs and targets are no pictures of one size")
    if len({image.shape for image in seen.images}) != 1:
        return not_applicable("the pictures have several sizes")
    inputs = torch.stack(seen.images)
    clean = seen.numbers[: len(inputs)].float()
    alike = float(_correlation(inputs.flatten(1), clean.flatten(1)).median())
    near = float(_correlation(inputs[..., 1:].flatten(1), inputs[..., :-1].flatten(1)).median())
    about = f"Input and target correlate by {alike:.2f}, neighbouring pixels of the input by {near:.2f}"
    if alike >= LIKE_FAIL or near >= WHITE:
        return passed(f"{about}.", alike)
    return Finding(
        "fail", f"{about}: next to nothing of the picture is left in the noise.", alike, "augment.too_strong",
        "Give the noise in the units of the pictures: a level of 25 is meant for 0 to 255, 25 / 255 for 0 to 1.",
        (f"pixels of the input lie between {inputs.min():.3g} and {inputs.max():.3g}, of the target between "
         f"{clean.min():.3g} and {clean.max():.3g}",),
        (("input", as_bytes(inputs[0])), ("target", as_bytes(clean[0]))),
    )  # fmt: skip


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    first, second = (one - one.mean(1, keepdim=True) for one in (first, second))
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1)).clamp_min(1e-9)


def look_meaning(setup: Setup) -> Finding:
    """Asks whether augmented pictures, with their labels, lead astray who compares others with them."""
    augmenter = augmenter_of(setup)
    if augmenter is None:
        return not_applicable("give augment=, the function that changes (image, target) of a training sample")
    if setup.target_form != "class" or setup.seen.numbers is None or len(setup.seen) < 100:
        return not_applicable("the targets are no classes, or fewer than 100 samples were read")
    count = len(in_time(augmenter, setup.budget.share_s(SHARE) / 4))
    if count < 100:
        return not_applicable("fewer than 100 samples could be augmented in the time")
    raws = [augmenter.raw(i) for i in range(count)]
    plain = torch.stack([_small(raws[i][0]) for i in range(count)])
    labels = torch.tensor([int(torch.as_tensor(label_of(raw[1]))) for raw in raws])
    changed = torch.cat(
        [torch.stack([shrunk(augmenter.changed(i, *raws[i], draw)[0]) for i in range(count)]) for draw in (1, 2, 3)]
    )
    features, filters = features_of(plain, seed=setup.seed)
    other, _ = features_of(changed, filters)
    scale = features.std(0).clamp_min(1e-6)
    here, there = _unit((features - features.mean(0)) / scale), _unit((other - features.mean(0)) / scale)
    right, right_with = _nearest(here, there, labels)
    worse, better = int((right & ~right_with).sum()), int((~right & right_with).sum())
    surely = (worse - better) / max((worse + better) ** 0.5, 1.0)
    drop = (worse - better) / count
    about = (
        f"The nearest of {count} other pictures has the right label for {right.float().mean():.0%}, with "
        f"three augmented "
        f"ones of each beside them for {right_with.float().mean():.0%}"
    )
    if drop < WORSE or surely < SURE:
        return passed(f"{about}.", drop)
    return Finding(
        "fail", f"{about}: augmented pictures of one class look like another class.", drop, "augment.changes_meaning",
        MEANING, (f"{worse} answers became wrong, {better} right",),
        tuple(
            pair
            for i in (right & ~right_with).nonzero().flatten().tolist()[:3]
            for pair in (
                (f"{setup.class_name(int(labels[i]))}, before", as_bytes(raws[i][0])),
                ("after", as_bytes(changed[i])),
            )
        ),
    )  # fmt: skip


def in_time(augmenter: Augmenter, seconds: float) -> range:
    """As many samples as can be augmented once in so many seconds, by the time that four take."""
    start = time.perf_counter()
    tried = range(min(4, augmenter.count))
    for i in tried:
        augmenter.changed(i, *augmenter.raw(i), 1)
    each = (time.perf_counter() - start) / max(len(tried), 1)
    return range(min(augmenter.count, int(seconds / max(each, 1e-6))))


def _small(picture: Tensor) -> Tensor:
    return shrunk(picture.float())


def label_of(target: object) -> object:
    """The class of a target that is one, or a dict with it."""
    return target["label"] if isinstance(target, dict) else target


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-9)


def _nearest(here: Tensor, there: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) twice: whether the nearest other picture has the label, without and with the augmented ones of others."""
    count = len(here)
    plain = (here @ here.T).fill_diagonal_(-2)
    augmented = here @ there.T
    for draw in range(len(there) // count):
        augmented[:, draw * count : (draw + 1) * count].fill_diagonal_(-2)
    both = torch.cat([plain, augmented], 1)
    return labels[plain.argmax(1)] == labels, labels[both.argmax(1) % count] == labels


def look_validation(setup: Setup) -> Finding:
    """Reads samples of validation twice, with other random numbers."""
    val = setup.val
    if val is None:
        return not_applicable("give val=")
    if val.dataset is None:
        first, second = _first_batches(val)
    elif setup.seen_val is None or not setup.seen_val.indices:
        return not_applicable("the inputs are no pictures")
    else:
        pairs = [read_twice(val.dataset, i) for i in setup.seen_val.indices[:8]]
        first, second = [one for one, _ in pairs], [one for _, one in pairs]
    differing = sum(not same(a, b) for a, b in zip(first, second, strict=True))
    what = "samples" if val.dataset is not None else "batches"
    about = f"{differing} of {len(first)} {what} of validation differ when they are read again"
    if not differing:
        return passed(f"{about}.", 0.0)
    if setup.target_form == "picture":
        return Finding(
            "warn", f"{about}: the score is of other noise each time.", differing / len(first), "augment.on_validation",
            "Draw the noise of each sample of validation from a generator seeded by its index.",
            pictures=_twice(first, second),
        )  # fmt: skip
    return Finding(
        "fail", f"{about}: validation is augmented, and its score is neither that of pictures as they are nor the same "
        "twice.", differing / len(first), "augment.on_validation", PLAIN, pictures=_twice(first, second),
    )  # fmt: skip


def _twice(first: Sequence[object], second: Sequence[object]) -> Shown:
    """The first sample that differs, as it was read the two times."""
    pair = next((pair for pair in zip(first, second, strict=True) if not same(*pair)), None)
    if pair is None:
        return ()
    with foreign_code():
        images = [as_image(split(one)[0]) for one in pair]
        names = ("read once", "read again")
        return tuple((name, as_bytes(one)) for name, one in zip(names, images, strict=True) if one is not None)
    return ()


def _first_batches(val: Source) -> tuple[list[object], list[object]]:
    hits = []
    for epoch in (0, 1):
        with shared_restored():
            seed_generators(5, epoch, 0)
            hits.append(next(iter(val.read()), None))
    return [hits[0]], [hits[1]]


def look_draws(setup: Setup) -> Finding:
    """Watches the generators of random numbers while samples of training are read."""
    dataset, indices = setup.train.dataset, setup.seen.indices
    if dataset is None or len(indices) < 2:
        return not_applicable("train has no data set of single samples, or one that gives no pictures")
    after = [
        _states_after(dataset, index, epoch) for index, epoch in ((indices[0], 0), (indices[1], 1), (indices[0], 2))
    ]
    names = ("torch", "NumPy", "random")
    seeded = [name for k, name in enumerate(names) if after[0][k] == after[1][k]]
    by_index = [name for k, name in enumerate(names) if after[0][k] == after[2][k] and name not in seeded]
    if seeded:
        return Finding(
            "fail", f"Reading a sample seeds the generator of {' and '.join(seeded)}: every sample, worker and epoch "
            "draws the same numbers, and so does dropout after it.", 1.0, "augment.same_randomness", ANEW,
            tuple(f"{name}: the same state after two samples" for name in seeded),
        )  # fmt: skip
    private = _private(setup, dataset, indices)
    if private is not None:
        return private
    if by_index:
        return Finding(
            "warn", f"Reading a sample seeds the generator of {' and '.join(by_index)} by its index: each epoch sees "
            "the same augmented pictures.", 1.0, "augment.same_randomness", ANEW,
        )  # fmt: skip
    return passed("Reading samples of training seeds no generator.", 0.0)


def _states_after(dataset: object, index: int, epoch: int) -> list[object]:
    with shared_restored():
        seed_generators(3, epoch, 0)
        split(dataset[index])  # type: ignore[index]
        return shared_states()


def _private(setup: Setup, dataset: object, indices: list[int]) -> Finding | None:
    """A generator of the data set's own, which each worker gets a copy of, in the state that it has here."""
    loader = setup.train.loader
    if loader is None or loader.num_workers < 1 or loader.worker_init_fn is not None:
        return None
    before = private_states(dataset)
    split(dataset[indices[0]])  # type: ignore[index]
    if not before or private_states(dataset) == before:
        return None
    if loader.num_workers == 1 and loader.persistent_workers:
        return None
    what = "workers draw the same numbers" if loader.num_workers > 1 else "epochs draw the same numbers"
    return Finding(
        "fail", f"The data set draws from a generator of its own, of which each of {loader.num_workers} workers gets a "
        f"copy: {what}.", float(loader.num_workers), "augment.same_randomness",
        f"{ANEW} Or seed it in worker_init_fn from torch.initial_seed().",
    )  # fmt: skip


CHECKS = (
    Check(
        name="validation is not augmented",
        subject="augment",
        causes={"augment.on_validation": PLAIN},
        symptom="The validation score jumps from epoch to epoch, and is lower than that of the exported network.",
        measure="Samples of validation read twice, from other states of the generators of torch, NumPy and Python.",
        threshold="Any difference fails; of noise on pictures to be cleaned it warns.",
        origin="Exact.",
        look=look_validation,
        is_quick=True,
    ),
    Check(
        name="samples draw their own numbers",
        subject="augment",
        causes={"augment.same_randomness": ANEW},
        symptom="Augmentation helps less than it should; noise is learned by heart.",
        measure="States of the shared generators after two samples, from two beginnings; generators of the data set "
        "that workers would copy.",
        threshold="Equal states fail; states that depend on the index only warn.",
        origin="Exact.",
        look=look_draws,
        is_quick=True,
    ),
    Check(
        name="augmented pictures can be recognised",
        subject="augment",
        causes={"augment.too_strong": WEAKER},
        symptom="The training loss stays near that of a guess; without augmentation it falls.",
        measure=(
            "Each of 64 blocks of a picture is inverted, and whether the augmented one of the same draw "
            "changes; of "
            "noisy pictures the correlation with their targets."
        ),
        threshold=(
            f"Fewer than {SEEN_FAIL:.0%} of the blocks in the median draw fail; a correlation below "
            f"{LIKE_FAIL:g} "
            "of inputs that are white noise."
        ),
        origin="RandomResizedCrop at its default shows half of a picture in the median, and a crop of its least area, "
        "8 %, touches 17 % of the blocks.",
        look=look_strength,
    ),
    Check(
        name="labels keep their meaning",
        subject="augment",
        causes={"augment.changes_meaning": MEANING},
        symptom="Some classes are confused whatever is done: 6 and 9, 2 and 5, left and right arrows.",
        measure="Nearest neighbours among other pictures, with and without augmented ones: how many answers become "
        "wrong.",
        threshold=f"{WORSE:.0%} more wrong answers than right ones fail, at {SURE:g} deviations.",
        origin="McNemar's test; mirrors of photographs make as many answers right as wrong.",
        look=look_meaning,
    ),
)
