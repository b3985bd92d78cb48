"""From a recipe's data section to scanned splits."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from unpool.assemble.copies import CopiesOfSet, Part, judge_copies, kept_together, look_for_copies, require_small_groups
from unpool.assemble.mirror import with_flip_pairs
from unpool.assemble.processes import check_processes, may_share
from unpool.assemble.proposals import with_planned_sides, with_proposals
from unpool.assemble.statistics import with_mean_image, with_statistics
from unpool.data.augment import AUGMENTATIONS, Geometry
from unpool.data.content_cache import ContentCache
from unpool.data.label_counts import log_balance, log_unlabelled, require_labels
from unpool.data.looking import Binding
from unpool.data.noise import AddNoise
from unpool.data.plain import DatasetReader, is_random
from unpool.data.range_of_set import DecodingReader
from unpool.data.readers import READERS
from unpool.data.readers.splits import Together
from unpool.data.same_names import check_same_names
from unpool.data.store import ScanResult, scan
from unpool.errors import DataError, RecipeError
from unpool.machine import cache_folder
from unpool.ops import mean_image
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe
from unpool.recipe.listed import needs_folder
from unpool.task import TrainingSetup
from unpool.tasks import TASKS
from unpool.types import MOST_PIXELS, RGB, DataInfo, Decoding, Range, Reader, Samples

_MANY = 10_000  # images among which copies are looked for in silence
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a recipe's data section became.

    Attributes:
        train, val: scanned splits.
        preprocessing: shared by training, evaluation and prediction.
        info: class names and the like, as the training split has them, with the pairs of `data.flip_pairs`.
        copies: pictures that are in both splits, or in two classes.
    """

    train: ScanResult
    val: ScanResult
    preprocessing: Preprocessing
    info: DataInfo
    copies: CopiesOfSet


def make_reader(recipe: Recipe, split: str, *, classes: Sequence[str] | None = None, together: Together = ()) -> Reader:
    """The recipe's reader on one split; `classes` matches the folder's names with those of a trained network.

    Where the split is drawn, each group of names in `together` stays in one part.

    Raises:
        RecipeError: no root is given, or the reader does not give what the task needs.
        DataError: the tree is not in the reader's format.
    """
    kind = READERS[recipe.data.reader]
    accepted = signature(kind).parameters
    if recipe.data.root is None and accepted["root"].default is Parameter.empty:
        raise RecipeError(needs_folder(recipe.data.reader))
    options = dict(recipe.data.options)
    if "decoding" in accepted:
        options["decoding"] = decoding_of(recipe)
    elif replace(decoding_of(recipe), max_pixels=MOST_PIXELS) != RGB:
        ways = "data.channels, data.bands, data.range and data.background"
        raise RecipeError(f"reader {recipe.data.reader} makes RGB: leave {ways} out")
    if classes is not None and "classes" in accepted:
        options["classes"] = list(classes)
    if together and "together" in accepted:
        options["together"] = together
    root = Path(recipe.data.root) if recipe.data.root else None
    reader = kind(root, split, **options)
    check_gives(recipe, reader, f"reader {recipe.data.reader}")
    return reader


def decoding_of(recipe: Recipe) -> Decoding:
    """How the recipe reads image files."""
    data = recipe.data
    return Decoding(
        channels=data.channels,
        range=data.range,
        bands=data.bands,
        background=data.background,
        max_pixels=data.max_pixels,
    )


def check_gives(recipe: Recipe, reader: Reader, description: str) -> None:
    """Raises RecipeError where the reader, called `description`, does not give what the recipe's task needs."""
    added = set(AddNoise.gives) if recipe.data.noise else set()
    if twice := added & set(reader.gives):
        raise RecipeError(
            f"{description} gives {', '.join(twice)} itself; leave data.noise out, or choose another reader"
        )
    missing = set(TASKS[recipe.task.name].needs) - set(reader.gives) - added
    if missing:
        raise RecipeError(
            f"task {recipe.task.name} needs {', '.join(sorted(missing))}, but {description} gives "
            f"{', '.join(reader.gives)}; choose another data.reader or task.name"
            f"{', or set data.noise' if missing == set(AddNoise.gives) else ''}"
        )


def read_data(
    recipe: Recipe,
    *,
    train: Reader | None = None,
    val: Reader | None = None,
    recorded: Mapping[str, Any] | None = None,
    begun_with: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Data:
    """Both splits scanned, with one Preprocessing and one DataInfo.

    Args:
        recipe: its data section says what to read and what to hold in memory.
        train: a reader of the training split that replaces the recipe's.
        val: the same, of validation.
        recorded: what data.json holds where a run is resumed: files are hashed anew, those that it left out are left
            out again, and a drawn split keeps together what it kept together; else copies that were divided are
            drawn again.
        begun_with: the packed mean image of a run that is resumed, in place of one that is counted.
        progress: called with (files done, files in all) while files are read.

    Raises:
        RecipeError: a reader does not give what the task needs.
        DataError: files that cannot be used, all of them in one message; the two splits differ in their names; too
            many images are in both; or the mean image of the recipe is not the one that the run began with.
    """
    check_processes(recipe)
    together = () if recorded is None else kept_together(recorded)
    read = partial(_read_once, recipe, recorded=recorded, progress=progress)
    data = read(train=train, val=val, together=together)
    is_ours = recorded is None and train is None and val is None and is_drawn(data.train.manifest)
    if is_ours and data.copies.across and not recipe.data.allow_duplicates:
        require_small_groups(data.copies)
        _log.info("copies of a picture lie in both parts of the drawn split: drawn again, each group in one part")
        data = read(train=None, val=None, together=data.copies.groups())
    judge_copies(data.copies, allowed=recipe.data.allow_duplicates)
    if recipe.data.normalize != "location":
        return data
    return replace(data, preprocessing=_by_location(recipe, data, begun_with=begun_with, progress=progress))


def _by_location(
    recipe: Recipe, data: Data, *, begun_with: str | None, progress: Callable[[int, int], None] | None
) -> Preprocessing:
    """The preprocessing with its mean image, which a resumed run never counts anew: images may have been repaired."""
    if recipe.data.mean_image is None:
        if begun_with is None:
            return with_mean_image(data.preprocessing, data.train.samples, progress=progress)
        return replace(data.preprocessing, normalization="location", mean_image=begun_with)
    if begun_with not in (None, data.preprocessing.mean_image):
        raise DataError(
            f"{recipe.data.mean_image} holds another mean image than the run began with: put it back as it was, or "
            "start a new run"
        )
    return data.preprocessing


def is_drawn(manifest: Mapping[str, Any]) -> bool:
    """Whether the scan that left this record was of a part of a drawn split."""
    return bool(manifest.get("drawn"))


def _read_once(
    recipe: Recipe,
    *,
    train: Reader | None,
    val: Reader | None,
    together: Together,
    recorded: Mapping[str, Any] | None,
    progress: Callable[[int, int], None] | None,
) -> Data:
    train = make_reader(recipe, "train", together=together) if train is None else train
    check_gives(recipe, train, "the training reader")
    info = with_flip_pairs(train.info, recipe.data.flip_pairs)
    val = make_reader(recipe, "val", classes=train.info.classes, together=together) if val is None else val
    check_gives(recipe, val, "the validation reader")
    check_same_names(val.info, train.info, reader="the validation reader")
    results = []
    with ContentCache(cache_folder("contents")) as cache:
        for part, reader in (("train", train), ("val", val)):
            give_set_range(reader, set_range_of(train))
            # a validation image is measured, which no other can stand in for
            binding = Binding(recipe.data.verify if part == "train" else "decode", cache, (recorded or {}).get(part))
            memory, shared = _memory(recipe, binding, reader), may_share(recipe, reader)
            results.append(scan(reader, memory=memory, shared=shared, binding=binding, progress=progress))
    needs = TASKS[recipe.task.name].needs
    require_labels(results[0].counts, needs)
    is_balanced = not {"weighted", "p_times_k"}.isdisjoint(recipe.data.order) or "class_weights" in recipe.task.options
    log_balance(results[0].counts, needs, is_balanced=is_balanced)
    log_unlabelled(results[1].counts, needs, part="validation")
    read_by = train if set_range_of(train) or not set_range_of(val) else val
    preprocessing = make_preprocessing(recipe, read_by.decoding if isinstance(read_by, DecodingReader) else None)
    preprocessing = as_sized(preprocessing, train, results[0].samples)
    if not preprocessing.mean:
        preprocessing = with_statistics(preprocessing, results[0].samples)
    proposals = with_planned_sides(recipe.data.proposals, results[0].samples)
    results = [
        with_proposals(one, proposals, reader, root=recipe.data.root, progress=progress)
        for one, reader in zip(results, (train, val), strict=True)
    ]
    preprocessing = replace(preprocessing, proposals=proposals)
    if (count := len(results[0].samples) + len(results[1].samples)) >= _MANY:
        _log.info("looking for copies among %d images", count)
    copies = look_for_copies(Part(train, results[0]), Part(val, results[1]))
    return Data(train=results[0], val=results[1], preprocessing=preprocessing, info=info, copies=copies)


def _memory(recipe: Recipe, binding: Binding, reader: Reader) -> bool | None:
    """Whether to hold a set; a resumed run does not decode images that it did not decode when it began.

    Samples that differ from one reading to the next are never held: each epoch would meet the same ones.
    """
    if is_random(reader):
        return False
    was_streamed = binding.verify == "headers" and binding.recorded is not None and not binding.recorded["memory"]
    if recipe.data.memory == "auto":
        return False if was_streamed else None
    return recipe.data.memory


def set_range_of(reader: Reader) -> Range | None:
    """The range that a scan found in the values of deep images."""
    return reader.decoding.set_range if isinstance(reader, DecodingReader) else None


def give_set_range(reader: Reader, known: Range | None) -> None:
    """Reads deep images by the range of another set, so that a scan finds none itself."""
    if known is not None and isinstance(reader, DecodingReader):
        reader.decoding = replace(reader.decoding, set_range=known)


def make_preprocessing(recipe: Recipe, decoding: Decoding | None = None) -> Preprocessing:
    """The data section's size rule, channels, statistics, and how files are read; a mean image only from a file.

    A reader's `exif` says on which pixels points were annotated. A new photograph has none: it is seen upright.
    """
    data = recipe.data
    decoding = decoding or decoding_of(recipe)
    return Preprocessing(
        size_hw=None if data.size is None else (data.size[0], data.size[1]),
        shorter=data.shorter,
        longest=data.longest,
        rule=data.rule,
        crop=data.crop,
        channels=data.channels,
        range=decoding.range,
        set_range=decoding.set_range,
        bands=decoding.bands,
        background=decoding.background,
        order=data.color_order,
        value_range=data.value_range,
        normalization="channel" if data.normalize == "location" and data.mean_image is None else data.normalize,
        mean=tuple(data.mean),
        std=tuple(data.std),
        mean_image=_mean_image(recipe),
        multiple=data.multiple,
        exif="ignore" if data.options.get("exif") == "ignore" and not TASKS[recipe.task.name].points else "apply",
    )


def as_sized(preprocessing: Preprocessing, reader: Reader, samples: Samples) -> Preprocessing:
    """The preprocessing of samples: images that a data set has brought to the size lose no borders a second time."""
    if isinstance(reader, DatasetReader) and set(samples.sizes_hw) == {preprocessing.size_hw}:
        return replace(preprocessing, crop=1.0)
    return preprocessing


def _mean_image(recipe: Recipe) -> str | None:
    data = recipe.data
    if data.mean_image is None or data.size is None:
        return None
    return mean_image.read(Path(data.mean_image), (data.channels, *data.size))


def training_setup(recipe: Recipe, data: Data, *, starts_new: bool = False) -> TrainingSetup:
    """What the task may warn of before training."""
    kinds = {name: AUGMENTATIONS[name] for name, _ in recipe.data.steps}
    geometry = {name: kind for name, kind in kinds.items() if issubclass(kind, Geometry)}
    window = recipe.data.train_size
    return TrainingSetup(
        gives=data.train.samples.gives,
        augmentations=tuple(kinds),
        interpolating=tuple(name for name, kind in geometry.items() if not kind.keeps_pixels),
        window_hw=None if window is None else (window[0], window[1]),
        keeps_scale=recipe.data.keeps_size and not any(kind.chooses_scale for kind in geometry.values()),
        sizes_hw=data.train.samples.sizes_hw,
        chooses_pairs=recipe.data.flip_pairs is not None,
        sets=(data.train.samples, data.val.samples),
        starts_new=starts_new,
    )
