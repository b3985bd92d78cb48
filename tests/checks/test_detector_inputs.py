"""What a detector of torchvision takes for itself: label 0, the normalisation, and a loss that training alone has."""

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.transforms import Normalize

from tests.checks.made import Samples, found, setup
from unpool.checks.detector_inputs import look_background, look_twice
from unpool.checks.first_batch import look_first_batch
from unpool.checks.setup import Setup
from unpool.checks.source import Source

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def small_rcnn() -> FasterRCNN:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
    body.out_channels = 8
    return FasterRCNN(
        body, 3, min_size=32, max_size=32, box_roi_pool=MultiScaleRoIAlign(["0"], 2, 1),
        rpn_anchor_generator=AnchorGenerator(((16,),), ((1.0,),)), box_head=nn.Sequential(nn.Flatten(),
        nn.Linear(32, 1024)),
    )  # fmt: skip


def of_detector(first: int = 1, **more: object) -> Setup:
    torch.manual_seed(0)
    images = [torch.rand(3, 32, 32) for _ in range(2)]
    targets = [{"boxes": torch.tensor([[4.0, 4, 20, 20]]), "labels": torch.tensor([first + i])} for i in range(2)]

    def forward(network: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> object:
        return network(*batch) if network.training else network(batch[0])

    batches = [(images, targets)]
    return Setup(
        model=small_rcnn(), train=Source(batches, name="train"), val=Source(batches, name="val"), forward=forward,
        loss=more.get("loss", lambda losses, _: sum(losses.values())), form="things",
    )  # fmt: skip


def causes(result: object) -> list[str]:
    return [cause for cause in found(result) if cause]


def test_first_batch_passes_where_a_detector_has_its_loss_in_training_only() -> None:
    assert causes(look_first_batch(of_detector())) == []


def test_first_batch_fails_where_the_loss_takes_no_outputs_at_all() -> None:
    run = of_detector(loss=lambda losses, _: losses.nothing)
    assert causes(look_first_batch(run)) == ["data.label_kind", "data.label_kind"]


def test_background_has_no_thing_of_label_0() -> None:
    assert causes(look_background(of_detector(first=0))) == ["data.label_range"]
    assert causes(look_background(of_detector(first=1))) == []


def pictures(model: nn.Module, *, prepared: bool) -> Setup:
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.15
    run = setup(Samples(Normalize(MEAN, STD)(images) if prepared else images, torch.arange(16) % 3))
    run.model = model
    return run


def test_pictures_are_normalised_once() -> None:
    net = nn.Sequential(Normalize(MEAN, STD), nn.Flatten(), nn.Linear(768, 3))
    assert causes(look_twice(pictures(net, prepared=True))) == ["data.normalization"]
    assert causes(look_twice(pictures(net, prepared=False))) == []
    off = nn.Sequential(Normalize([0, 0, 0], [1, 1, 1]), nn.Flatten(), nn.Linear(768, 3))
    assert look_twice(pictures(off, prepared=True)).verdict == "not applicable"
