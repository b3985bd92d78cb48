"""The class and the box of one thing a picture, and of the white cell of a blood smear: mistakes of boxes."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.ops import box_convert, box_iou, generalized_box_iou

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import Localizer
from benchmarks.mistakes.held.runs import Pictures, batches, plain, to_tensor

SIZE = 64
Pair = tuple[Tensor, Tensor]


def samples(boxes: np.ndarray, labels: np.ndarray) -> list[dict[str, Tensor]]:
    """Targets as torchvision has them: boxes xyxy in pixels, and labels."""
    return [
        {"boxes": torch.from_numpy(box), "labels": torch.tensor(label)}
        for box, label in zip(boxes, labels, strict=True)
    ]


def corners(box: Tensor) -> Tensor:
    """Boxes of the network as xyxy in pixels."""
    return box_convert(box * SIZE, "cxcywh", "xyxy")


def two_losses(outputs: Pair, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cross-entropy of the class and absolute error of the box, to be added."""
    wanted = box_convert(targets["boxes"], "xyxy", "cxcywh") / SIZE
    return {"class": F.cross_entropy(outputs[0], targets["labels"]), "box": 5 * F.l1_loss(outputs[1], wanted)}


def overlap(outputs: Pair, targets: dict[str, Tensor]) -> Tensor:
    """Mean intersection over union of a batch."""
    return box_iou(corners(outputs[1]), targets["boxes"]).diag().mean()


def mean_overlap(model: nn.Module, val: Any) -> float:
    """Mean intersection over union over a set."""
    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for images, targets in batches(val):
            total += overlap(model(images), targets).item() * len(images)
            count += len(images)
    model.train()
    return total / count


def moved(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirrored half of the time, the box with the image."""
    if torch.rand(()) < 0.5:
        left, top, right, bottom = target["boxes"]
        box = torch.stack([SIZE - 1 - right, top, SIZE - 1 - left, bottom])
        image, target = image.flip(2), {**target, "boxes": box}
    return image, target


def thing_sets(**options: Any) -> tuple[DataLoader, Pictures]:
    """480 pictures in batches of 32, and 120 to validate."""
    (pictures, *targets), (val_pictures, *val_targets) = drawn.things(480, 1), drawn.things(120, 2)
    train = Pictures(pictures, samples(*targets), **options)
    return DataLoader(train, 32, shuffle=True), Pictures(val_pictures, samples(*val_targets))


def things_run(model: nn.Module, *, sets: tuple[Any, Any] | None = None, **more: Any) -> Plain:
    """A run on one thing a picture; predict answers the box in pixels."""
    train, val = sets or thing_sets(augment=moved)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loss = more.pop("loss", two_losses)

    def step(batch: Any) -> Tensor:
        model.train()
        images, targets = batch
        optimizer.zero_grad()
        losses = loss(model(images), targets)
        value = sum(losses.values()) if isinstance(losses, dict) else losses
        value.backward()
        optimizer.step()
        return value.detach()

    def predict(picture: np.ndarray) -> Tensor:
        model.eval()
        with torch.no_grad():
            return corners(model(to_tensor(picture)[None])[1])[0]

    more = {"metric": overlap, "evaluate": mean_overlap, "predict": predict, "step": step, "task": "boxes"} | more
    return plain(model, train, val, loss, optimizer=optimizer, classes=drawn.SHAPES, **more)


def things(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return things_run(Localizer(3), augment=moved)


def widths_for_right_sides(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets = []
    for pictures, boxes, labels in (drawn.things(480, 1), drawn.things(120, 2)):
        as_coco = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        sets.append(Pictures(pictures, samples(as_coco, labels)))
    return things_run(Localizer(3), sets=(DataLoader(sets[0], 32, shuffle=True), sets[1]))


def picture_mirrored_alone(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def augment(image: Tensor, target: Any) -> tuple[Tensor, Any]:
        image = image + 0.1 * torch.randn(())
        return (image.flip(2) if torch.rand(()) < 0.5 else image), target

    return things_run(Localizer(3), sets=thing_sets(augment=augment), augment=augment)


def overlap_as_loss(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(outputs: Pair, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        giou = generalized_box_iou(corners(outputs[1]), targets["boxes"]).diag().mean()
        return {"class": F.cross_entropy(outputs[0], targets["labels"]), "box": 2 * giou}

    return things_run(Localizer(3), loss=loss)


def sizes_learned_as_logarithms(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Localizer(3)

    def loss(outputs: Pair, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted = box_convert(targets["boxes"], "xyxy", "cxcywh") / SIZE
        encoded = torch.cat([wanted[:, :2], 1 + wanted[:, 2:].log() / 4], 1)
        return {"class": F.cross_entropy(outputs[0], targets["labels"]), "box": 5 * F.l1_loss(outputs[1], encoded)}

    return things_run(model, loss=loss)


def biases_of_rare_things(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Localizer(3)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            nn.init.constant_(module.bias, -4.6)
    return things_run(model)


def box_in_parts(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Localizer(3)

    def predict(picture: np.ndarray) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(to_tensor(picture)[None])[1][0]

    return things_run(model, predict=predict)


def white_cells(folders: Folders, split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Smears with one white cell, at 80x60 in the corner of 80x80, and its box in pixels."""
    assert folders.data is not None
    root = folders.data / "bccd" / "BCCD"
    pictures, boxes = [], []
    for name in (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
        tree = ElementTree.parse(root / "Annotations" / f"{name}.xml").getroot()
        found = [thing.find("bndbox") for thing in tree.iter("object") if thing.findtext("name") == "WBC"]
        if len(found) == 1 and found[0] is not None:
            small = Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB").resize((SIZE, 48))
            pictures.append(np.pad(np.asarray(small), ((0, 16), (0, 0), (0, 0)), constant_values=127))
            box = [float(found[0].findtext(side) or 0) for side in ("xmin", "ymin", "xmax", "ymax")]
            boxes.append(np.array(box, np.float32) / 10)
    return pictures, np.stack(boxes)


def smears_run(folders: Folders, model: nn.Module, **more: Any) -> Plain:
    """A run that finds the white cell of a smear, of one class."""
    sets = []
    for split in ("train", "val"):
        pictures, boxes = white_cells(folders, split)
        sets.append(
            Pictures(pictures, samples(boxes, np.zeros(len(boxes), np.int64)), **(more if split == "train" else {}))
        )

    def loss(outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return F.smooth_l1_loss(outputs, box_convert(targets["boxes"], "xyxy", "cxcywh") / SIZE, beta=0.05)

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            pairs = [(corners(model(images)), targets["boxes"]) for images, targets in batches(val)]
        model.train()
        return torch.cat([box_iou(*pair).diag() for pair in pairs]).mean().item()

    train = DataLoader(sets[0], 16, shuffle=True)
    return plain(model, train, sets[1], loss, rate=1e-3, evaluate=evaluate, task="boxes", epochs=30, **more)


class Smears(nn.Module):
    """The convolutions of the localizer, and the four numbers of a box from their whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Localizer(1).features
        self.box = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, image: Tensor) -> Tensor:
        return self.box(self.features(image)).sigmoid()


def smears(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return smears_run(folders, Smears(), augment=moved)


def predicts_blue_first(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Localizer(3)

    def predict(picture: np.ndarray) -> Tensor:
        as_opencv = np.ascontiguousarray(picture[..., ::-1])
        model.eval()
        with torch.no_grad():
            return corners(model(to_tensor(as_opencv)[None])[1])[0]

    return things_run(model, predict=predict)


CASES: tuple[Case, ...] = (
    Case(
        "things",
        things,
        "generated things",
        "Localizer",
        "two outputs and a dict of two losses",
    ),
    Case(
        "widths_for_right_sides",
        widths_for_right_sides,
        "generated things",
        "Localizer",
        "COCO's x, y, width, height where torchvision's corners are meant",
        cause="data.box_format",
        of="things",
        also=("data.box_invalid",),
    ),
    Case(
        "picture_mirrored_alone",
        picture_mirrored_alone,
        "generated things",
        "Localizer",
        "a transform of classification used for boxes: the picture is mirrored, its box not",
        cause="augment.target_left",
        of="things",
    ),
    Case(
        "overlap_as_loss",
        overlap_as_loss,
        "generated things",
        "Localizer",
        "sharad5/OWL-ViT-Object-Detection#2: the overlap itself where one minus it is the loss",
        cause="loss.wrong_way",
        of="things",
    ),
    Case(
        "sizes_learned_as_logarithms",
        sizes_learned_as_logarithms,
        "generated things",
        "Localizer",
        "sizes encoded by a logarithm for the loss, and not decoded where boxes are read",
        cause="loss.box_encoding",
        of="things",
        also=("predict.differs",),
    ),
    Case(
        "biases_of_rare_things",
        biases_of_rare_things,
        "generated things",
        "Localizer",
        "RetinaNet's bias for rare things (Lin et al., arXiv:1708.02002) set in every layer in place of the last",
        cause="network.dead_units",
        of="things",
        also=("network.variance",),
    ),
    Case(
        "predicts_blue_first",
        predicts_blue_first,
        "generated things",
        "Localizer",
        "ipazc/mtcnn#36: a program that reads by OpenCV, blue first",
        cause="predict.preprocessing",
        of="things",
    ),
    Case(
        "box_in_parts",
        box_in_parts,
        "generated things",
        "Localizer",
        "a program that takes the network's numbers, centre and size in parts, for corners in pixels",
        cause="predict.differs",
        of="things",
        also=("predict.size",),
    ),
    Case(
        "smears",
        smears,
        "bccd",
        "Smears",
        "one white cell among red ones; the red ones are no mistake",
        needs=("bccd",),
    ),
)
