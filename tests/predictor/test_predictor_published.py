"""A published network answers without training, in words, about images as its own test sees them."""

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import unpool
from unpool import models, predictor
from unpool.errors import RecipeError
from unpool.models import pretrained
from unpool.run import predict


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


@pytest.fixture
def published(resnet18, monkeypatch):
    monkeypatch.setattr(pretrained, "fetch", lambda _: resnet18.state_dict())
    return resnet18


@pytest.fixture
def photo(tmp_path):
    """A picture of blocks that is no square."""
    blocks = torch.randint(0, 256, (30, 45, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(blocks.repeat_interleave(10, 0).repeat_interleave(10, 1).numpy()).save(path)
    return path


def test_classifier_answers_as_torchvision_does_in_its_words(published, photo):
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    with torch.inference_mode():
        expected = published(weights.transforms()(Image.open(photo).convert("RGB"))[None]).softmax(1)[0]
    (answer,) = unpool.load("resnet18", weights="imagenet", device="cpu")(photo)
    assert answer["label"] == int(expected.argmax())
    assert answer["class"] == weights.meta["categories"][answer["label"]]
    assert answer["score"] == pytest.approx(float(expected.max()), rel=0.05)  # the image is resized in another order


def test_segmentation_network_paints_the_classes_of_voc(monkeypatch, tmp_path, photo):
    built = []

    def build(name, **options):
        built.append((name, options))
        head = nn.Conv2d(3, 21, 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        with torch.no_grad():
            head.bias[15] = 9
        return head

    monkeypatch.setattr(models, "build", build)
    (record,) = predict("deeplabv3_resnet50", [photo], tmp_path / "out", weights="voc")
    assert built == [("deeplabv3_resnet50", {"weights": "voc"})]
    assert {name: share for name, share in record["shares"].items() if share} == {"person": 1.0}
    assert Image.open(tmp_path / "out" / "photo_mask.png").convert("RGB").getpixel((0, 0)) == (192, 128, 128)
    assert record["size_hw"] == [300, 450]


def test_loading_a_published_network_leaves_the_random_generator_alone(published):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    predictor.load("resnet18", "imagenet", device="cpu")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "weights", "says"),
    [
        ("runs/one", "imagenet", "no weights 'imagenet' are published for runs/one; there are for vgg11"),
        ("unet", "imagenet", "no weights 'imagenet' are published for unet"),
        ("resnet18", "voc", "no weights 'voc' are published for resnet18"),
    ],
)
def test_what_nobody_published_is_refused(name, weights, says):
    with pytest.raises(RecipeError, match=says):
        unpool.load(name, weights=weights)


def test_published_weights_take_no_network_of_your_own():
    with pytest.raises(RecipeError, match=r"of the network 'resnet18': leave model=\.\.\. out"):
        unpool.load("resnet18", weights="imagenet", model=nn.Identity())
