"""What every row of READERS keeps."""

import inspect
import json
from itertools import product
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
import torch.multiprocessing  # its reductions are what a worker process is sent

from tests.data.readers.trees import TREES
from unpool.data.readers import READERS
from unpool.data.readers.cifar import Cifar
from unpool.data.store import scan
from unpool.errors import RecipeError
from unpool.ops.targets import CLASS_TARGETS
from unpool.ops.words import texts_of, words_of
from unpool.types import IGNORE, DataInfo, Decoding

GENERATED = {"box_scenes", "digit_strings", "figures", "flow_scenes", "scenes", "stereo_scenes"}
PAIRS = {"disparity", "flow"}  # targets of readers whose image is two, one behind the other
ON_DISK = sorted(set(READERS) - GENERATED - {"dataset"})  # which reads no folder


def same(value, other):
    """Equal, NaN where the other is."""
    return (
        value.shape == other.shape
        and value.dtype == other.dtype
        and torch.equal(value.isnan(), other.isnan())
        and (torch.equal(value.nan_to_num(), other.nan_to_num()))
    )


@pytest.fixture(params=ON_DISK)
def reader(request, tmp_path, untouched):
    root = TREES[request.param](tmp_path)
    untouched()
    return READERS[request.param](root, "train")


@pytest.mark.parametrize(
    "name", [name for name in ON_DISK if "val_share" in inspect.signature(READERS[name]).parameters]
)
def test_share_to_be_drawn_is_more_than_nothing_and_at_most_all(name, tmp_path):
    """Whether or not anything is drawn: a mistake in a recipe shows before the set changes."""
    root = TREES[name](tmp_path)
    for share in (0, -0.5, 1.01):
        with pytest.raises(RecipeError, match=rf"^data\.val_share is {share}; expected more than 0 and at most 1"):
            READERS[name](root, "val", val_share=share)
    assert len(READERS[name](root, "val", val_share=1)) > 0


def test_every_reader_on_disk_has_a_tree():
    assert set(TREES) == set(ON_DISK)


def test_samples_are_what_the_reader_says_it_gives(reader):
    assert len(reader) == len(reader.names) > 0
    assert len(set(reader.names)) == len(reader.names)
    for i in range(len(reader)):
        sample = reader[i]
        assert tuple(sample) == reader.gives
        assert sample["image"].dtype == torch.uint8
        height, width = sample["image"].shape[1:]
        if "mask" in sample:
            assert sample["mask"].dtype == torch.uint8
            assert sample["mask"].shape == (height, width)
            assert all(v < max(len(reader.info.classes), 1) or v == IGNORE for v in sample["mask"].unique().tolist())
        elif "keypoints" in sample:
            assert sample["keypoints"].dtype == torch.float32
            assert sample["visible"].dtype == torch.bool
            assert sample["keypoints"].shape == (len(reader.info.keypoints), 2)
            assert sample["visible"].shape == (len(reader.info.keypoints),)
            inside = (sample["keypoints"] >= -0.5) & (sample["keypoints"] < torch.tensor([width, height]) - 0.5)
            assert inside.all(1)[sample["visible"]].all()
        elif "label" in sample:
            assert sample["label"].dtype == torch.int64
            assert 0 <= int(sample["label"]) < len(reader.info.classes)
        if "people" in sample:
            count = len(sample["boxes"])
            assert sample["people"].shape == (count, len(reader.info.keypoints), 2)
            assert sample["boxes"].shape == (count, 4)
            assert sample["people"].dtype == sample["boxes"].dtype == torch.float32
        if "labels" in sample:
            boxes, labels = sample["boxes"], sample["labels"]
            assert (boxes.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert boxes.shape == (len(labels), 4)
            assert ((labels >= 0) & (labels < len(reader.info.classes))).all()
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        if "clean" in sample:
            assert (sample["clean"].dtype, sample["clean"].shape) == (torch.uint8, sample["image"].shape)


def test_targets_of_pairs_cover_the_first_image(reader):
    for key in {"disparity", "flow", "hidden", "other_disparity", "other_hidden"} & set(reader.gives):
        value = reader[0][key]
        assert value.dtype == (torch.bool if "hidden" in key else torch.float32)
        assert value.shape[-2:] == reader[0]["image"].shape[1:]


def test_captions_are_of_words_and_texts_of_the_alphabet(reader):
    for i in range(len(reader)):
        sample = reader[i]
        if "captions" in sample:
            assert sample["captions"].dtype == torch.uint8
            assert all(words_of(text) for text in texts_of(sample["captions"]))
        if "text" in sample:
            assert sample["text"].dtype == torch.int64
            assert ((sample["text"] >= 0) & (sample["text"] < len(reader.info.classes))).all()


def test_measure_and_targets_agree_with_the_sample(reader):
    for i in range(len(reader)):
        measure, sample = reader.measure(i), reader[i]
        assert measure.size_hw == tuple(sample["image"].shape[1:])
        large, whole = ([v.nbytes for v in sample.values() if v.dim() >= least] for least in (1, 0))
        assert sum(large) <= measure.num_bytes <= sum(whole)  # single numbers may be left out
        targets = reader.targets(i)
        assert set(targets) == set(sample) - {"image"}
        assert all(same(value, sample[key]) for key, value in targets.items())


@pytest.mark.parametrize("memory", [True, False])
def test_scan_gives_the_reader_s_own_samples(reader, memory):
    result = scan(reader, memory=memory)
    assert result.faults == []
    assert result.samples.gives == reader.gives
    assert list(result.samples.names) == reader.names
    for i in range(len(reader)):
        sample, own = result.samples[i], reader[i]
        assert all(same(sample[key], own[key]) for key in reader.gives)
        assert int(sample["index"]) == i
        assert tuple(sample["size_hw"].tolist()) == result.samples.sizes_hw[i] == tuple(own["image"].shape[1:])
    json.dumps(result.manifest, allow_nan=False)


def test_reader_and_samples_reach_spawned_workers(reader):
    for memory in (True, False):
        ForkingPickler.dumps(scan(reader, memory=memory).samples)


def test_info_survives_the_model_file(reader):
    assert DataInfo.from_json(json.loads(json.dumps(reader.info.to_json()))) == reader.info


def test_channels_are_those_asked_for(reader, tmp_path):
    for channels in (2, 6) if PAIRS & set(reader.gives) else (1, 3):
        again = type(reader)(tmp_path, "train", decoding=Decoding(channels=channels))
        assert again[0]["image"].shape[0] == channels


def test_classes_of_a_run_decide_the_numbers(reader, tmp_path):
    if "classes" not in inspect.signature(type(reader)).parameters:
        pytest.skip("a reader without classes")
    own = reader.info.classes
    again = type(reader)(tmp_path, "train", classes=(*reversed(own), "more"))
    assert again.info.classes == (*reversed(own), "more")
    keys = [key for key in reader.gives if key in CLASS_TARGETS]
    for i, key in product(range(len(reader)), keys):
        old, new = reader[i][key], again[i][key]
        assert new.equal(torch.where(old == IGNORE, old, len(own) - 1 - old))


@pytest.mark.parametrize("name", ON_DISK)
def test_options_are_keywords_with_defaults(name):
    root, split, *options = inspect.signature(READERS[name]).parameters.values()
    assert (root.name, split.name) == ("root", "split")
    assert all(o.kind is o.KEYWORD_ONLY and o.default is not o.empty for o in options)


def test_val_is_the_test_split_where_a_set_has_no_other(tmp_path):
    for name, kind in (
        ("cifar", Cifar),
        *((name, READERS[name]) for name in ("coco_instances", "coco_people", "cub", "lsp", "mnist")),
    ):
        root = TREES[name](tmp_path / name)
        val, test = (kind(root, split) for split in ("val", "test"))
        assert val.names == test.names
        assert val[0]["image"].equal(test[0]["image"])
