"""A published network is measured on a folder whose classes are matched with its own by name."""

import json

import pytest
import torch
from PIL import Image

import unpool
from tests.data.readers.trees import TREES
from tests.tasks.tiny_detectors import Branched
from unpool.errors import DataError, RecipeError
from unpool.models import pretrained
from unpool.models.detection.practice import SSD
from unpool.models.pretrained import Origin
from unpool.models.timm_weights import synsets_of_imagenet
from unpool.published import classes_by_name, only_counted
from unpool.types import AnchoredBoxes

SOURCE = Origin(
    ("tench, Tinca tinca", "crane", "crane", "maillot", "maillot, tank suit", "European fire salamander"),
    (0.5,) * 3,
    (0.5,) * 3,
    "test",
    synsets=("n01440764", "n02012849", "n03126707", "n03710637", "n03710721", "n01629819"),
)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        *(("n01440764", 0), ("n01440764_tench", 0), ("n02012849-crane", 1), ("n03126707", 2), ("tench", 0)),
        *(("Tinca tinca", 0), ("tench, Tinca tinca", 0), ("TENCH", 0), ("maillot", 3), ("tank suit", 4)),
        *(("European_fire_salamander", 5), ("european fire salamander", 5)),
    ],
)
def test_folder_is_called_as_a_class_in_any_of_its_forms(name, index):
    assert classes_by_name([name], SOURCE).index(name) == index


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["crane"], "'crane' of the set may be 2: call it n02012849 or n03126707"),
        (["tensh"], r"unknown classes 'tensh'"),
        (["n01440765"], "unknown classes 'n01440765'"),
        (["n014407641"], "unknown classes"),
        (["tench", "n01440764"], "'tench' and 'n01440764' of the set are one"),
    ],
)
def test_folder_that_is_none_or_several_or_doubled_is_refused(names, says):
    with pytest.raises(DataError, match=says):
        classes_by_name(names, SOURCE)


def test_synsets_of_the_set_count_and_not_its_names():
    names, synsets = ("crane (n03126707)", "maillot"), ("n03126707", "n03710721")
    assert [classes_by_name(names, SOURCE, synsets).index(name) for name in names] == [2, 4]
    with pytest.raises(DataError, match="unknown classes 'tench'"):
        classes_by_name(["tench"], SOURCE, ["n09999999"])
    assert classes_by_name(["tench"], SOURCE._replace(synsets=()), ["n01440764"])[0] == "tench"


def test_every_class_has_a_name_of_its_own():
    names = classes_by_name(["tench"], SOURCE)
    assert names == ("tench", "crane (1)", "crane (2)", *SOURCE.classes[3:])


def test_classes_without_images_are_left_out_of_the_metrics():
    metrics = {"top1": None, "recall": {"a": 0.0, "b": None}}
    assert only_counted(metrics) == {"top1": None, "recall": {"a": 0.0}}


@pytest.fixture
def folder(tmp_path):
    for name in ("tench", "goldfish"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def published(monkeypatch):
    import torchvision

    network = torchvision.models.resnet18()
    torch.nn.init.zeros_(network.fc.weight)
    network.fc.bias.data = torch.nn.functional.one_hot(torch.tensor(1), 1000).float()  # always goldfish
    monkeypatch.setattr(pretrained, "fetch", lambda _: network.state_dict())


def test_published_network_is_measured_on_all_of_a_folder(published, folder, caplog):
    metrics = unpool.evaluate("resnet18", {"data.root": str(folder)}, weights="imagenet")
    assert metrics["top1"] == 0.5
    assert metrics["recall"] == {"tench": 0.0, "goldfish": 1.0}
    assert metrics["precision"] == {"goldfish": 0.5}
    assert "no val split: all of its 4 images are measured" in caplog.text


@pytest.mark.parametrize("words", [1000, 3])
def test_published_network_is_measured_by_a_tree_of_synsets(words, published, tmp_path):
    synsets = synsets_of_imagenet()
    if not synsets:
        pytest.skip("timm, which knows the synsets, is not installed")
    shown = [synsets[i] for i in (0, 1, 999)]
    lines = synsets if words == 1000 else shown  # those of a few classes are enough
    (tmp_path / "synset_words.txt").write_text("".join(f"{one} word {one}\n" for one in lines))
    tree = dict.fromkeys(synsets, "n00000001") | dict.fromkeys(synsets[:2], "n00000002") | {"n00000002": "n00000001"}
    (tmp_path / "is_a.txt").write_text("".join(f"{parent} {child}\n" for child, parent in tree.items()))
    for index, synset in enumerate(shown):
        (tmp_path / "val" / synset).mkdir(parents=True)
        Image.new("RGB", (40, 30), (index, 9, 9)).save(tmp_path / "val" / synset / "0.png")
    chosen = {"data.root": str(tmp_path), "data.reader": "imagenet", "data.tree": "is_a.txt"}
    metrics = unpool.evaluate("resnet18", chosen, weights="imagenet")
    assert metrics["recall"] == {f"word {one}": float(one == shown[1]) for one in shown}
    assert metrics["hierarchical_error"] == (1 + 0 + 2) / 3


def test_what_the_weights_prescribe_may_not_be_overridden(published, folder):
    with pytest.raises(RecipeError, match=r"data\.mean"):
        unpool.evaluate("resnet18", {"data.root": str(folder), "data.mean": [0, 0, 0]}, weights="imagenet")
    with pytest.raises(RecipeError, match="leave out model, reader and further runs"):
        unpool.evaluate("resnet18", {"data.root": str(folder)}, weights="imagenet", model=torch.nn.Identity())
    with pytest.raises(RecipeError, match="no weights 'imagenet' are published for runs/one"):
        unpool.evaluate("runs/one", {"data.root": str(folder)}, weights="imagenet")


class OneDog(torch.nn.Module):
    """A detector with COCO's 90 numbers, that sees a dog in the upper left corner."""

    box_weights, practice = (10.0, 10.0, 5.0, 5.0), SSD

    def forward(self, image):
        scores = torch.zeros(len(image), 1, 91)
        scores[..., 18] = 9.0  # behind the background as in COCO
        anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        return AnchoredBoxes(scores, torch.zeros(len(image), 1, 4), anchors, torch.zeros(1, dtype=torch.int64))


@pytest.fixture
def always_dog(monkeypatch):
    monkeypatch.setattr("unpool.models.build", lambda *given, **more: OneDog())


def write_coco(root, **categories):
    """Four images with a thing of each category, in turn."""
    (root / "annotations").mkdir()
    (root / "val2017").mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "height": 300, "width": 300} for i in range(4)]
    for one in images:
        Image.new("RGB", (300, 300), (one["id"], 9, 9)).save(root / "val2017" / one["file_name"])
    numbers = list(categories.values())
    things = [
        {"id": i, "image_id": i, "category_id": numbers[i % len(numbers)], "bbox": [0, 0, 10, 10], "area": 100}
        for i in range(4)
    ]
    content = {
        "images": images,
        "annotations": [one | {"iscrowd": 0} for one in things],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return {"data.root": str(root)}


def test_published_detector_is_measured_with_the_classes_of_a_file_by_name(always_dog, tmp_path):
    files = write_coco(tmp_path, cat=18, dog=7)  # COCO's number of a dog is 18
    metrics = unpool.evaluate("ssd300_vgg16", files, weights="coco")
    assert metrics["ap50_by_class"] == {"cat": 0.0, "dog": pytest.approx(0.5, abs=0.01)}  # every second one is none


def test_published_detector_refuses_a_class_that_it_has_not(always_dog, tmp_path):
    with pytest.raises(DataError, match=r"the set: unknown classes 'doge' \(did you mean 'dog'"):
        unpool.evaluate("ssd300_vgg16", write_coco(tmp_path, doge=18), weights="coco")


@pytest.fixture
def anywhere(monkeypatch):
    """A network with joints of people, with new weights, and small images."""
    network = Branched(1, of_boxes="joints", channels=17)
    small = {"size_hw": (64, 64), "rule": "stretch"}
    monkeypatch.setattr("unpool.predictor.loading._sides", lambda source, *, is_detector: small)
    monkeypatch.setattr("unpool.models.build", lambda *given, **more: network)


def test_published_network_of_joints_is_measured_on_people_of_coco(anywhere, tmp_path):
    files = {"data.root": str(TREES["coco_scenes"](tmp_path))}
    metrics = unpool.evaluate("keypointrcnn_resnet50_fpn", files, weights="coco")
    assert (metrics["images"], 0 <= metrics["oks_ap"] < 1, metrics["ap_by_class"].keys()) == (3, True, {"person"})


@pytest.mark.parametrize(
    ("options", "says"), [({"data.neck": True}, "neck only one of them has"), ({}, "17 joints.*17, in another order")]
)
def test_published_network_of_joints_refuses_a_set_of_other_joints(anywhere, tmp_path, options, says):
    root = TREES["coco_scenes"](tmp_path)
    for path in (root / "annotations").glob("*.json") if not options else ():
        content = json.loads(path.read_text())
        content["categories"][0]["keypoints"].reverse()
        path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=says):
        unpool.evaluate("keypointrcnn_resnet50_fpn", {"data.root": str(root), **options}, weights="coco")
