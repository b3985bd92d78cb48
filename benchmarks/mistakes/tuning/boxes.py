"""Mistakes of boxes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.healthy_vectors import (
    BOXED,
    CELLS,
    REFERENCE,
    boxed_run,
    cells_run,
    decode,
    encode,
    paired_iou,
)
from benchmarks.mistakes.tuning.pieces import Dicts, changed, loader, planted


def with_train(run: Plain, images: Tensor, boxes: Tensor) -> Plain:
    """The run with other samples to train on."""
    return changed(run, train=loader(Dicts(image=images, boxes=boxes), 16, shuffle=True))


def width_and_height(folders: Folders) -> Plain:
    """COCO's x, y, width and height, in training and validation, for code that takes corners."""
    images, boxes = generated.boxed(320, 51)
    val_images, val_boxes = generated.boxed(80, 52)
    as_coco = [torch.cat([b[:, :2], b[:, 2:] - b[:, :2]], 1) for b in (boxes, val_boxes)]

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        size = REFERENCE[2:] - REFERENCE[:2]
        middle = (batch["boxes"][:, :2] + batch["boxes"][:, 2:]) / 2
        shift = (middle - 32) / size
        extent = ((batch["boxes"][:, 2:] - batch["boxes"][:, :2]) / size).clamp(min=1e-2).log()
        return F.smooth_l1_loss(outputs, torch.cat([shift, extent], 1))

    val = loader(Dicts(image=val_images, boxes=as_coco[1]), 16)
    return changed(with_train(boxed_run(folders), images, as_coco[0]), loss=loss, val=val)


def dragged_from_the_end(folders: Folders) -> Plain:
    """A fifth of the boxes was drawn from the lower right corner, and is stored so."""
    run = cells_run(folders)
    images, boxes = sets.cells(folders, "train")
    boxes[::5] = boxes[::5][:, [2, 3, 0, 1]]
    return changed(run, train=loader(TensorDataset(images - 0.7, boxes), 16, shuffle=True))


class Widths(nn.Module):
    """The width of the thing as one column."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.BoxNet(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def column_against_row(folders: Folders) -> Plain:
    """The width alone, (B, 1) of the network against (B,) of the table."""
    run = boxed_run(folders)
    torch.manual_seed(0)
    model = Widths()
    train, val = (generated.boxed(n, seed) for n, seed in ((320, 51), (80, 52)))
    widths = [(boxes[:, 2] - boxes[:, 0]) / 64 for _, boxes in (train, val)]
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(train[0], widths[0]), 16, shuffle=True),
            "val": loader(TensorDataset(val[0], widths[1]), 16),
            "loss": nn.MSELoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": lambda outputs, truth: (outputs.flatten() - truth).abs().mean(),
            "task": "regression",
            "epochs": run.arguments["epochs"],
        }
    )


class Reshaped(networks.BoxNet):
    """Brings channels last by a view, which mixes them."""

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        batch, channels, height, width = maps.shape
        cells = maps.permute(2, 3, 0, 1).reshape(batch, height * width * channels)
        return self.head[1:](cells)


def view_for_permute(folders: Folders) -> Plain:
    """Positions first, then a reshape to the batch: every row holds parts of all images."""
    torch.manual_seed(0)
    model = Reshaped()
    return changed(boxed_run(folders), model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3))


def sizes_not_raised(folders: Folders) -> Plain:
    """Sizes are learned as logarithms, and read as if they were not."""
    run = boxed_run(folders)
    model = run.arguments["model"]

    def read(codes: Tensor) -> Tensor:
        size = REFERENCE[2:] - REFERENCE[:2]
        middle = codes[..., :2] * size + 32
        half = (1 + codes[..., 2:]).clamp(min=0.05) * size / 4
        return torch.cat([middle - half, middle + half], -1)

    def metric(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return paired_iou(read(outputs), batch["boxes"]).mean()

    def predict(picture: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return read(model(picture[None]))[0]

    kept = {key: value for key, value in run.arguments.items() if key != "evaluate"}
    return Plain({**kept, "metric": metric, "predict": predict})


def overlap_made_small(folders: Folders) -> Plain:
    """The overlap itself as the loss."""

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        overlap = paired_iou(decode(outputs), batch["boxes"])
        return overlap.mean() + 0.1 * F.smooth_l1_loss(outputs[:, :2], encode(batch["boxes"])[:, :2]).detach()

    return changed(boxed_run(folders), loss=loss)


def codes_not_decoded(folders: Folders) -> Plain:
    """Predict answers with codes in units of the reference box."""
    run = boxed_run(folders)
    model = run.arguments["model"]

    def predict(picture: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            codes = model(picture[None])[0]
        return decode(codes) / 2

    return changed(run, predict=predict)


CASES = (
    planted(
        BOXED,
        "coco_boxes_as_corners",
        "data.box_format",
        width_and_height,
        "Megvii-BaseDetection/YOLOX#969 explains the change",
    ),
    planted(
        CELLS,
        "corners_exchanged",
        "data.box_invalid",
        dragged_from_the_end,
        "rafaelpadilla/Object-Detection-Metrics#26",
    ),
    planted(
        BOXED,
        "column_against_row",
        "network.broadcast",
        column_against_row,
        "deepset-ai/FARM#229",
        network="box network of one output",
    ),
    planted(BOXED, "reshape_for_permute", "network.batch_mixing", view_for_permute, "Jingkang50/OpenPSG#56"),
    planted(
        BOXED,
        "logarithms_read_as_sizes",
        "loss.box_encoding",
        sizes_not_raised,
        "biubug6/Pytorch_Retinaface#91 asks what is decoded",
    ),
    planted(BOXED, "overlap_as_loss", "loss.wrong_way", overlap_made_small, "1 - IoU is the loss; Yu et al. 2016"),
    planted(
        BOXED,
        "boxes_of_half_the_size",
        "predict.size",
        codes_not_decoded,
        "ultralytics/yolov3#197: boxes of another scale",
        also=("predict.differs",),
    ),
)
