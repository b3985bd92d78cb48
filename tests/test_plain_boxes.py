"""Plain data sets with boxes: which class a label means is stated and never guessed, and every verb reads it alike."""

import logging
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.tv_tensors import BoundingBoxes

import unpool
from unpool.assemble.names import check_alike, check_numbers, info_of, numbers_by_name, numbers_of
from unpool.assemble.plain import wrap
from unpool.custom_parts import again
from unpool.data.plain import DatasetReader, Levels
from unpool.errors import DataError, RecipeError
from unpool.recipe import load_recipe
from unpool.types import DataInfo

GIVES = ("image", "boxes", "labels")
COUNTED = DataInfo(classes=("wide", "tall"), class_ids=(1, 2))
RECIPE = load_recipe("dataset_detection")


class Blocks(Dataset):
    """One block an image, labelled from 1 on as in torchvision's references."""

    def __init__(self, count, seed, *, first=1, classes=None):
        self.noise = torch.randint(0, 160, (count, 3, 32, 32), generator=torch.Generator().manual_seed(seed))
        self.first = first
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        width, height = (20, 10) if index % 2 == 0 else (10, 20)
        image = self.noise[index].byte()
        image[:, 4 : 4 + height, 2 : 2 + width] = 255
        boxes = BoundingBoxes([[2, 4, width, height]], format="XYWH", canvas_size=(32, 32))
        return image, {"boxes": boxes, "labels": torch.tensor([index % 2 + self.first]), "image_id": index}


TRAIN, VAL = Blocks(8, 0), Blocks(4, 1)


def test_the_name_of_a_background_takes_up_its_number():
    for background in ("__background__", "background", "Background"):
        info = info_of([background, "wide", "tall"], TRAIN, GIVES, part="train")
        assert (info.classes, info.class_ids) == (("wide", "tall"), (1, 2))
    assert numbers_of(info, GIVES) == {1: 0, 2: 1}
    assert info_of(None, Blocks(1, 0, classes=("__background__", "a")), GIVES, part="train").class_ids == (1,)
    of_coco = info_of(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"], TRAIN, GIVES, part="train")
    assert (len(of_coco.classes), of_coco.class_ids[0], of_coco.class_ids[-1]) == (80, 1, 90)


def test_names_of_things_alone_count_from_0_and_other_tasks_keep_their_background():
    assert info_of(["wide", "tall"], TRAIN, GIVES, part="train") == DataInfo(classes=("wide", "tall"))
    assert info_of(["background", "tree"], [], ("image", "mask"), part="train").classes == ("background", "tree")
    assert numbers_of(COUNTED, ("image", "mask")) == {}
    with pytest.raises(RecipeError, match="each of them once"):
        info_of(["background", "wide", "wide"], TRAIN, GIVES, part="train")
    with pytest.raises(RecipeError, match=r"class_ids is \(1, 1\) of 2 classes"):
        numbers_of(DataInfo(classes=("wide", "tall"), class_ids=(1, 1)), GIVES)


@pytest.mark.parametrize(
    ("own", "passed"),
    [
        (("wide", "tall"), ["__background__", "wide", "tall"]),
        (("__background__", "wide", "tall"), ["wide", "tall"]),
        (("__background__", "wide"), ["wide"]),
        (("wide", "oblique"), ["wide", "tall"]),
    ],
)
def test_names_that_a_set_counts_in_another_way_are_refused(own, passed):
    with pytest.raises(DataError, match="by number, and would be read as"):
        info_of(passed, Blocks(1, 0, classes=own), GIVES, part="train")
    check_numbers(Blocks(1, 0, classes=own), info_of(own, TRAIN, GIVES, part="train"), GIVES, part="val")


def test_a_set_that_is_measured_on_is_read_by_its_own_names_in_their_numbers():
    swapped = Blocks(1, 0, classes=("background", "tall", "wide"))
    assert numbers_by_name(swapped, COUNTED, GIVES, part="reader") == {1: 1, 2: 0}
    assert numbers_by_name(Blocks(1, 0, classes=("wide", "tall")), COUNTED, GIVES, part="reader") == {0: 0, 1: 1}
    assert numbers_by_name(TRAIN, COUNTED, GIVES, part="reader") == {1: 0, 2: 1}
    with pytest.raises(DataError, match="unknown classes 'oblique'"):
        numbers_by_name(Blocks(1, 0, classes=("tall", "oblique")), COUNTED, GIVES, part="reader")


def test_both_sets_may_name_the_background_or_not():
    named = Blocks(1, 0, classes=("__background__", "wide", "tall"))
    sets = [DatasetReader(one, gives=GIVES, info=COUNTED, levels=Levels(), part="val") for one in (named, VAL)]
    check_alike(*sets, GIVES)
    sets[1] = DatasetReader(
        Blocks(1, 0, classes=("tall", "wide")), gives=GIVES, info=COUNTED, levels=Levels(), part="val"
    )
    with pytest.raises(DataError, match="val differs in its names"):
        check_alike(*sets, GIVES)


def test_labels_are_read_as_the_log_says(caplog):
    with caplog.at_level(logging.INFO, logger="unpool"):
        reader = wrap(TRAIN, RECIPE, COUNTED, part="train").reader
    assert "labels of boxes are read as 1 wide, 2 tall" in caplog.text
    assert "samples of train hold image_id, and image, boxes, labels are used" in caplog.text
    assert [reader[i]["labels"].tolist() for i in range(2)] == [[0], [1]]
    assert reader[0]["boxes"].tolist() == [[2, 4, 22, 14]]


def test_what_some_samples_say_of_their_things_all_do(caplog):
    items = [(image, {**target, "iscrowd": [0]}) for image, target in (TRAIN[i] for i in range(4))]
    items.append((TRAIN[4][0], {"image_id": 4}))
    reader = wrap(items, RECIPE, COUNTED, part="train").reader
    assert reader.gives == (*GIVES, "crowd")
    assert reader[4]["crowd"].shape == (0,)


def localize(folder, **changes):
    over = {"train.precision": "float32", "train.memory_format": "contiguous", "model.width": 4, "data.workers": 0}
    settings = {"task": "localization", "classes": ["__background__", "wide", "tall"], "epochs": 1, **changes}
    return unpool.train(overrides=over, run=folder, **settings)


def test_a_run_knows_how_its_labels_were_counted():
    info = DataInfo.from_json(COUNTED.to_json())
    custom = again(RECIPE, info, {"model": None, "train": TRAIN, "val": VAL})
    assert [one[1]["labels"].tolist() for one in (custom.train, custom.val) if one is not None] == [[1], [1]]


@pytest.mark.slow
def test_a_set_as_torchvisions_references_have_it_goes_through_every_verb(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loader = DataLoader(TRAIN, 4, shuffle=True, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))
    run = Path(localize(tmp_path / "run", train=loader, val=VAL)["run"])
    resumed = unpool.resume(run, {"train.epochs": 2}, train=loader, val=VAL)
    assert len(resumed["history"]) == 2
    assert set(resumed["iou"]) == {"wide", "tall"}
    from_0 = Blocks(4, 1, first=0, classes=("wide", "tall"))
    for measured in (VAL, from_0):
        assert unpool.evaluate(run, reader=measured)["mean_iou"] == resumed["mean_iou"]
    (record,) = unpool.load(run)([VAL[0][0].permute(1, 2, 0).numpy()])
    assert record["classes"][0] in ("wide", "tall")
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["wide", "tall"]}, r"train\[1\]: labels hold 2, and the classes are 0 wide, 1 tall"),
        ({"classes": None}, "give classes="),
        ({"train": [(TRAIN[0][0], {"boxes": 2 * [[2, 4, 9, 9]], "labels": [1, 2]})]}, r"train\[0\] has 2 boxes"),
        (
            {"train": [(TRAIN[0][0], {"boxes": [[0.1, 0.2, 0.5, 0.6]], "labels": [1]})]},
            "the boxes of train, .*fractions",
        ),
    ],
    ids=["labels from 1", "no names", "two things", "fractions"],
)
def test_what_cannot_be_learned_is_refused_before_a_folder_is_made(tmp_path, monkeypatch, changes, said):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises((DataError, RecipeError), match=said):
        localize(tmp_path / "run", **{"train": TRAIN, "val": VAL, **changes})
    assert not (tmp_path / "run").exists()
