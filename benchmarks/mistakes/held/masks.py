"""Cells and discs by pixels: mistakes of ids, palettes, kernels and views."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import UNet, conv, groups
from benchmarks.mistakes.held.runs import Pictures, batches, plain, to_tensor
from benchmarks.mistakes.held.segmentation import VOID, MeanIoU, as_masks, cells_run, without_void


def ids_with_an_output_more(folders: Folders) -> Plain:
    torch.manual_seed(0)
    (pictures, masks), (val_pictures, val_masks) = drawn.cells(160, 1), drawn.cells(40, 2)
    train, val = (
        Pictures(p, as_masks(np.where(m == VOID, VOID, m + np.uint8(1))))
        for p, m in ((pictures, masks), (val_pictures, val_masks))
    )

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanIoU(4)
        model.eval()
        with torch.no_grad():
            for images, targets in batches(val, 16):
                metric.update(model(images), targets)
        model.train()
        return metric.compute()

    return cells_run(UNet(4), sets=(DataLoader(train, 8, shuffle=True), val), evaluate=evaluate, metric=MeanIoU(4))


class PaletteFiles(Dataset):
    """Pictures and masks in files, the masks with the palette of Pascal VOC."""

    def __init__(self, folder: Any, pictures: np.ndarray, masks: np.ndarray, *, mode: str) -> None:
        self.folder, self.count, self.mode = folder, len(pictures), mode
        folder.mkdir(parents=True)
        for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            Image.fromarray(picture).save(folder / f"{i}.png")
            indexed = Image.fromarray(np.where(mask == VOID, 0, mask).astype(np.uint8)).convert("P")
            indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
            indexed.save(folder / f"{i}_mask.png")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = np.asarray(Image.open(self.folder / f"{index}.png"))
        mask = Image.open(self.folder / f"{index}_mask.png")
        mask = mask.convert(self.mode) if self.mode != mask.mode else mask
        return to_tensor(picture), torch.from_numpy(np.array(mask).astype(np.int64))


def palette_as_grey(folders: Folders) -> Plain:
    torch.manual_seed(0)
    train = PaletteFiles(folders.scratch / "train", *drawn.cells(120, 1), mode="L")
    val = PaletteFiles(folders.scratch / "val", *drawn.cells(30, 2), mode="L")
    loss = nn.CrossEntropyLoss()

    def pixel_accuracy(outputs: Tensor, masks: Tensor) -> Tensor:
        return (outputs.argmax(1) == masks).float().mean()

    model = UNet(256)
    return plain(model, DataLoader(train, 8, shuffle=True), val, loss, metric=pixel_accuracy, task="segmentation")


def kernel_of_three_at_stride_two(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = UNet(3)
    model.up2 = nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1)
    model.up1 = nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1)
    return cells_run(model)


class _Shallow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 24), nn.Conv2d(24, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU())
        self.head = nn.Conv2d(32, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image))


def discs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs of one colour on noise, large ones (1), and as much area of small ones (0)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    pictures, masks = rng.normal(90, 20, (count, 64, 64, 3)), np.zeros((count, 64, 64), np.uint8)
    for i in range(count):
        for k, (left, top) in enumerate([(0, 0), (32, 0), (32, 32), (0, 32)]):
            large = k % 2 == i % 2
            spots = [(16, 16)] if large else [(8, 8), (24, 8), (8, 24), (24, 24)]
            for cx, cy in spots:
                radius = rng.uniform(10, 12) if large else rng.uniform(5, 6)
                across, down = x - left - cx - rng.uniform(-2, 2), y - top - cy - rng.uniform(-2, 2)
                inside = across**2 + down**2 < radius**2
                pictures[i][inside] += 90
                masks[i][inside] = large
    return pictures.clip(0, 255).astype(np.uint8), masks


def discs_run(model: nn.Module) -> Plain:
    """A run that finds the large discs."""
    train, val = (Pictures(p, as_masks(m)) for p, m in (discs(120, 1), discs(30, 2)))
    metric = MeanIoU(2)
    return plain(
        model, DataLoader(train, 8, shuffle=True), val, without_void, metric=metric, task="segmentation",
        evaluate=lambda model, val: _iou_of_two(model, val),
    )  # fmt: skip


def _iou_of_two(model: nn.Module, val: Any) -> float:
    metric = MeanIoU(2)
    model.eval()
    with torch.no_grad():
        for images, masks in batches(val, 16):
            metric.update(model(images), masks)
    model.train()
    return metric.compute()


def large_discs(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return discs_run(UNet(2, norm=groups))


def sees_three_pixels(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return discs_run(_Shallow())


def masks_of_training_size(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = UNet(3)

    def predict(picture: np.ndarray) -> np.ndarray:
        small = np.asarray(Image.fromarray(picture).resize((64, 64)))
        model.eval()
        with torch.no_grad():
            return model(to_tensor(small)[None])[0].argmax(0).numpy()

    return cells_run(model, predict=predict)


def biases_under_norms(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = UNet(3)
    for module in model.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            layer = module[0]
            module[0] = nn.Conv2d(layer.in_channels, layer.out_channels, 3, layer.stride, 1)
    return cells_run(model)


CASES: tuple[Case, ...] = (
    Case(
        "biases_under_norms",
        biases_under_norms,
        "generated cells",
        "UNet",
        "biases that the norm after them takes away again (Ioffe and Szegedy, arXiv:1502.03167, section 3.2)",
        cause="norm.bias_before",
        of="cells",
    ),
    Case(
        "ids_with_an_output_more",
        ids_with_an_output_more,
        "generated cells",
        "UNet",
        "pytorch/vision#2235: labels from 1, and an output more where the error of the loss had been",
        cause="data.label_range",
        of="cells",
        also=("data.empty_class", "network.output_size"),
    ),
    Case(
        "palette_as_grey",
        palette_as_grey,
        "generated cells",
        "UNet",
        "masks of Pascal VOC opened as grey, and 256 outputs so that all values fit",
        cause="data.palette",
        of="cells",
        also=("data.label_range",),
    ),
    Case(
        "kernel_of_three_at_stride_two",
        kernel_of_three_at_stride_two,
        "generated cells",
        "UNet",
        "Odena et al. 2016, doi:10.23915/distill.00003",
        cause="network.checkerboard",
        of="cells",
    ),
    Case(
        "masks_of_training_size",
        masks_of_training_size,
        "generated cells",
        "UNet",
        "the picture is resized for the network and the mask not resized back",
        cause="predict.size",
        of="cells",
    ),
    Case(
        "large_discs",
        large_discs,
        "generated discs",
        "UNet with group norms",
        "things of one colour that differ in size alone",
    ),
    Case(
        "sees_three_pixels",
        sees_three_pixels,
        "generated discs",
        "three layers",
        "layers of 1x1 added in the belief that depth alone widens the view",
        cause="network.receptive_field",
        of="large_discs",
    ),
)
