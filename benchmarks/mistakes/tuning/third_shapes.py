"""Generated squares and discs found by torchvision's detectors on the first half of a ResNet-18."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSClassificationHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou

from benchmarks.mistakes.case import Case, Plain

SIDE = 64


def scene(draw: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image of bytes, boxes of corners, and 1 for a square, 2 for a disc; up to three that do not overlap."""
    image = draw.normal(110, 25, (side, side, 3)) + draw.normal(0, 20, 3)
    rows, columns = np.mgrid[:side, :side]
    boxes: list[tuple[float, float, float, float]] = []
    kinds = []
    for _ in range(20):
        size = draw.uniform(0.16, 0.34) * side
        x, y = draw.uniform(0, side - size - 1, 2)
        apart = all(x > b[2] or y > b[3] or x + size < b[0] or y + size < b[1] for b in boxes)
        if len(boxes) == 3 or not apart:
            continue
        kind = int(draw.integers(1, 3))
        if kind == 1:
            inside = (columns >= x) & (columns <= x + size) & (rows >= y) & (rows <= y + size)
        else:
            inside = (columns - x - size / 2) ** 2 + (rows - y - size / 2) ** 2 <= size**2 / 4
        image[inside] = draw.choice([40, 220]) + draw.normal(0, 20, 3)
        boxes.append((x, y, x + size, y + size))
        kinds.append(kind)
    return image.clip(0, 255).astype(np.uint8), np.array(boxes, dtype=np.float32), np.array(kinds)


class Shapes(Dataset):
    """Images of 64x64, made smaller from 96x96, with torchvision's dict of boxes and labels."""

    def __init__(self, count: int, seed: int, *, first: int = 1, scaled: bool = True) -> None:
        draw = np.random.default_rng(seed)
        self.scenes = [scene(draw, 96) for _ in range(count)]
        self.first = first
        self.scaled = scaled

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        picture, boxes, kinds = self.scenes[index]
        image = torch.from_numpy(picture).permute(2, 0, 1).float()[None] / 255
        image = nn.functional.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)[0]
        corners = torch.from_numpy(boxes) * (SIDE / 96 if self.scaled else 1.0)
        return image, {"boxes": corners, "labels": torch.from_numpy(kinds) - 1 + self.first}


def collate(samples: list[Any]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


class Backbone(nn.Sequential):
    """ResNet-18 from scratch up to an eighth of the size."""

    out_channels = 128

    def __init__(self, norm: type[nn.Module]) -> None:
        whole = resnet18(norm_layer=norm)
        super().__init__(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1, whole.layer2)


def fcos(norm: type[nn.Module]) -> FCOS:
    model = FCOS(
        Backbone(norm),
        num_classes=3,
        min_size=SIDE,
        max_size=SIDE,
        anchor_generator=AnchorGenerator(((16,),), ((1.0,),)),
        center_sampling_radius=1.5,
        score_thresh=0.3,
        detections_per_img=10,
    )
    nn.init.constant_(model.head.regression_head.bbox_reg.bias, 1.0)  # its ReLU stays alive
    return model


def faster(norm: type[nn.Module]) -> FasterRCNN:
    return FasterRCNN(
        Backbone(norm),
        min_size=SIDE,
        max_size=SIDE,
        rpn_anchor_generator=AnchorGenerator(((12, 20, 28),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 4, 2),
        box_head=TwoMLPHead(128 * 16, 128),
        box_predictor=FastRCNNPredictor(128, 3),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=40,
        rpn_post_nms_top_n_test=20,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_score_thresh=0.3,
        box_detections_per_img=10,
    )


def through(model: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> Any:
    """The losses in training, the boxes that were found otherwise."""
    return model(*batch) if model.training else model(batch[0])


def total(outputs: dict[str, Tensor], targets: Any) -> Tensor:
    return torch.stack(list(outputs.values())).sum()


def score(model: nn.Module, batches: Any) -> float:
    """F1 of boxes found with an IoU of one half and the right label."""
    model.eval()
    right = count = 0
    with torch.no_grad():
        for images, targets in batches:
            for answer, target in zip(model(images), targets, strict=True):
                count += len(answer["boxes"]) + len(target["boxes"])
                if len(answer["boxes"]):
                    same = answer["labels"][:, None] == target["labels"]
                    right += int(((box_iou(answer["boxes"], target["boxes"]) * same).max(0).values > 0.5).sum())
    return 2 * right / max(count, 1)


def detector(
    network: str,
    *,
    first: int = 1,
    scaled: bool = True,
    norm: type[nn.Module] = nn.BatchNorm2d,
    head_late: bool = False,
) -> Plain:
    torch.manual_seed(0)
    train, val = (Shapes(count, seed, first=first, scaled=scaled) for count, seed in ((240, 1), (60, 2)))
    model = (fcos if network == "fcos" else faster)(norm)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-4 if network == "fcos" else 5e-4, weight_decay=1e-4)
    if head_late:
        anchors = model.anchor_generator.num_anchors_per_location()[0]
        model.head.classification_head = FCOSClassificationHead(128, anchors, num_classes=3)

    def predict(image: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model([image])[0]["boxes"]

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 6, shuffle=True, drop_last=True, collate_fn=collate),
            "val": DataLoader(val, 10, collate_fn=collate),
            "loss": total,
            "optimizer": optimizer,
            "forward": through,
            "evaluate": score,
            "predict": predict,
            "epochs": 6,
            "task": "boxes",
            "targets": "things",
        }
    )


def case(name: str, network: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: detector(network, **change),
        data="generated squares and discs",
        network=f"torchvision {network} on half of resnet18",
        source=source,
        cause=cause,
        of=f"{network}_on_shapes" if cause else "",
        also=also,
    )


CASES = (
    case("fcos_on_shapes", "fcos", None, "the model gives its losses in training and boxes in evaluation"),
    case(
        "faster_on_shapes", "faster", None, "labels from 1, since 0 is the background; the network draws its proposals"
    ),
    case(
        "labels_from_zero",
        "faster",
        "data.label_range",
        "pytorch/vision issue 1952: labels that start at 0 are background to torchvision's Faster R-CNN",
        first=0,
    ),
    case(
        "image_resized_boxes_not",
        "fcos",
        "data.mask_misaligned",
        "the image is made smaller in the data set, and its boxes stay in the pixels of the file",
        ("data.box_invalid",),
        scaled=False,
    ),
    case(
        "frozen_norm_from_scratch",
        "fcos",
        "norm.frozen",
        "pytorch/vision pull request 5443: frozen batch norm around weights that are random",
        norm=FrozenBatchNorm2d,
    ),
    case(
        "head_replaced_after_optimizer",
        "fcos",
        "optim.missing_parameters",
        "the head for the new classes is set, as the tutorial of torchvision does, after the optimiser was made",
        ("optim.no_step",),
        head_late=True,
    ),
)
