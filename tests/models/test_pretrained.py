"""Published weights reach the network that was asked for, with the names of their classes; no test downloads."""

import hashlib
import re
from http.client import HTTPException

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file

from tests.dilated_once import dilated_once  # noqa: F401, an autouse fixture
from unpool import models
from unpool.errors import EnvironmentFault, ModelFileError, RecipeError
from unpool.models import pretrained, timm_weights
from unpool.models.weights import from_torchvision, save_weights


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


@pytest.fixture
def published(resnet18, monkeypatch):
    """What a download of any of torchvision's files would give: a ResNet-18 as saved before torch 0.4.1."""
    tensors = {name: t for name, t in resnet18.state_dict().items() if not name.endswith("num_batches_tracked")}
    asked = []

    def fetch(url):
        asked.append(url)
        return tensors

    monkeypatch.setattr(pretrained, "fetch", fetch)
    return asked


def test_network_with_published_weights_gives_the_published_answer(resnet18, published):
    image = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        expected = resnet18(image)
        found = models.build("resnet18", weights="imagenet").eval()(image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert published == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"]


def test_nothing_is_downloaded_where_nobody_asks(published):
    models.build("resnet18")
    assert published == []


def test_channels_and_classes_are_derived_from_published_weights(resnet18, published):
    network = models.build("resnet18", weights="imagenet", num_classes=3, in_channels=1)
    weights = network.state_dict()
    assert torch.equal(weights["backbone.stem.conv.weight"], resnet18.conv1.weight.sum(1, keepdim=True))
    assert weights["head.linear.weight"].shape == (3, 512)
    assert torch.equal(weights["head.linear.bias"], resnet18.fc.bias.mean().expand(3))


@pytest.mark.parametrize("decoder", ["unet", "deeplabv3"])
def test_decoder_on_a_published_backbone_is_new_and_its_backbone_is_not(resnet18, published, decoder):
    network = models.build(decoder, backbone="resnet18", weights="imagenet", num_classes=2, in_channels=4)
    trained = from_torchvision(resnet18.state_dict())
    own = network.state_dict()
    stem = "backbone.stem.conv.weight"
    assert torch.equal(own[stem], trained[stem][:, [0, 1, 2, 0]] * 0.75)
    body = [name for name in own if name.startswith("backbone.") and name != stem and own[name].dim()]
    assert len(body) > 90
    assert all(torch.equal(own[name], trained[name]) for name in body)


def test_weights_that_do_not_fit_an_option_are_refused(published):
    with pytest.raises(ModelFileError, match=r"resnet18-f37072fd\.pth does not fit this network"):
        models.build("resnet18", weights="imagenet", width=32)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "resnet18",
            {"weights": "imagnet"},
            "weights is 'imagnet'; it must be imagenet or voc or coco or efficientnet_lite0",
        ),
        ("resnet18", {"weights": "voc"}, "no weights 'voc' are published for resnet18; there are for fcn_resnet50"),
        ("cifar_resnet20", {"weights": "imagenet"}, "no weights 'imagenet' are published for cifar_resnet20"),
        ("unet", {"weights": "imagenet", "backbone": "vgg16_c"}, "are published for vgg16_c"),
    ],
)
def test_weights_that_nobody_published_are_refused(published, name, options, says):
    with pytest.raises(RecipeError, match=says):
        models.build(name, **options)
    assert published == []


@pytest.mark.parametrize(("weights", "name"), [(w, n) for w, table in pretrained.PUBLISHED.items() for n in table])
def test_every_published_file_says_its_hash_and_has_a_name_for_every_class(weights, name):
    url = pretrained.address(pretrained.PUBLISHED[weights][name])
    assert re.fullmatch(r"https://download\.pytorch\.org/models/\w[\w-]*-[0-9a-f]{8}\.pth", url)
    stem = name.removesuffix("_aux").removesuffix("_torchvision")
    assert url.rpartition("/")[2].startswith(stem)
    come = pretrained.origin(name, weights)
    assert len(come.keypoints or come.classes) == models.MODELS[name].classes
    assert come.source.endswith(url)
    assert all(0 < value < 1 for value in (*come.mean, *come.std))


def test_googlenet_wants_a_mean_and_deviation_of_a_half():
    assert pretrained.origin("googlenet_torchvision", "imagenet")[1:3] == ((0.5,) * 3, (0.5,) * 3)
    assert pretrained.origin("resnet50", "imagenet").mean == (0.485, 0.456, 0.406)


def test_plain_row_leaves_out_auxiliary_heads(monkeypatch):
    """On the meta device, where only names and shapes count."""
    with torch.device("meta"):
        theirs = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True).state_dict()
        monkeypatch.setattr(pretrained, "fetch", lambda _: theirs)
        for name in ("googlenet_torchvision", "googlenet_torchvision_aux"):
            models.build(name, weights="imagenet")


@pytest.fixture
def fcn_resnet50(monkeypatch):
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
    monkeypatch.setattr(pretrained, "fetch", lambda _: theirs.state_dict())
    return theirs


def test_published_segmentation_network_answers_as_torchvision_does_at_every_size_and_says_how(fcn_resnet50, caplog):
    with caplog.at_level("INFO"):
        ours = models.build("fcn_resnet50", weights="voc").eval()
    assert caplog.messages == ["with the weights voc, align is sizes"]
    for size in ((65, 97), (64, 96)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(ours(image), fcn_resnet50(image)["out"], rtol=1e-4, atol=1e-4)


def test_answers_by_stride_can_be_had_from_published_weights_and_differ_where_the_stride_does_not_divide(
    fcn_resnet50, caplog
):
    with caplog.at_level("INFO"):
        ours = models.build("fcn_resnet50", weights="voc", align="stride").eval()
    assert caplog.messages == [
        "with the weights voc, align is stride; the published network has sizes, and answers differ"
    ]
    with torch.no_grad():
        even, odd = torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 97)
        torch.testing.assert_close(ours(even), fcn_resnet50(even)["out"], rtol=1e-4, atol=1e-4)
        assert (ours(odd) - fcn_resnet50(odd)["out"]).abs().max() > 1e-2


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_maps_are_stretched_by_no_other_weights(published, weights):
    network = models.build("deeplabv3_resnet50", backbone="resnet18", weights=weights)
    assert network.align == "stride"
    assert all(row.options().get("align", "stride") == "stride" for row in models.MODELS.values())


@pytest.fixture
def timms(monkeypatch):
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050").eval()
    monkeypatch.setattr(timm_weights, "published", lambda _: network.state_dict())
    return network


def test_timms_weights_reach_its_classifier_and_its_backbone(timms):
    image = torch.rand(1, 3, 64, 96)
    name = "timm/mobilenetv3_small_050"
    with torch.no_grad():
        torch.testing.assert_close(models.build(name, weights="imagenet").eval()(image), timms(image))
        grey = models.build(name, weights="imagenet", in_channels=1).eval()
        torch.testing.assert_close(grey(image[:, :1]), timms(image[:, :1].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    own = models.build("unet", backbone=name, weights="imagenet").state_dict()
    trained = timms.state_dict()
    body = {key.removeprefix("backbone.") for key in own if key.startswith("backbone.")}
    assert len(body) > 100
    assert all(torch.equal(own[f"backbone.{key}"], trained[key]) for key in body)


@pytest.mark.parametrize("fault", [OSError, HTTPException, HfHubHTTPError.__bases__[0], RuntimeError])
def test_timm_offline_is_told(monkeypatch, fault):
    def offline(*_, **__):
        raise fault("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(EnvironmentFault, match=r"cannot download the weights of timm/resnet18 \(no route to host\)"):
        timm_weights.published("timm/resnet18")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of Hugging Face's that holds the weights of one network, by their hash, and no way to get others."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--timm--mobilenetv3_small_050.lamb_in1k"
    torch.manual_seed(0)
    saved = save_weights(tmp_path / "new.safetensors", timm.create_model("mobilenetv3_small_050"))
    blob = folder / "blobs" / hashlib.sha256(saved.read_bytes()).hexdigest()
    link = folder / "snapshots" / ("0" * 40) / "model.safetensors"
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    saved.rename(blob)
    link.symlink_to(blob)
    return link


def test_timms_weights_come_from_its_cache_without_the_network(hub):
    kept, found = load_file(hub), timm_weights.published("timm/mobilenetv3_small_050")
    assert all(torch.equal(found[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:-1] + b"\0"])
def test_damaged_file_in_timms_cache_is_named(hub, change):
    hub.write_bytes(change(hub.read_bytes()))
    with pytest.raises(EnvironmentFault, match=r"model\.safetensors is not the file published at timm/.*; delete it"):
        timm_weights.published("timm/mobilenetv3_small_050")


def test_timms_weights_that_are_not_cached_are_told_offline(hub):
    with pytest.raises(EnvironmentFault, match=r"timm cannot download the weights of timm/resnet18 .*weights=FILE"):
        timm_weights.published("timm/resnet18")


def test_timms_origin_is_what_timm_says():
    come = pretrained.origin("timm/resnet18", "imagenet")
    assert len(come.classes) == 1000
    assert come.classes[0].startswith("tench")
    assert (come.size_hw, come.crop) == ((224, 224), 0.95)


def test_published_detector_has_torchvisions_norms_and_its_classes_without_the_background(monkeypatch):
    """On the meta device, where weights are shapes alone; answers are compared beside the detectors."""
    build = torchvision.models.detection.fasterrcnn_resnet50_fpn
    with torch.device("meta"):
        tensors = build(weights=None, weights_backbone=None).state_dict()
        monkeypatch.setattr(pretrained, "fetch", lambda _: tensors)
        network = models.build("fasterrcnn_resnet50_fpn", weights="coco")
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {0.0}
    assert not list(norms[0].parameters())
    origins = {name: pretrained.origin(name, "coco") for name in pretrained.PUBLISHED["coco"]}
    assert {name: (len(one.classes), one.classes[0]) for name, one in origins.items()} == {
        "fasterrcnn_resnet50_fpn": (90, "person"),
        "keypointrcnn_resnet50_fpn": (1, "person"),
        "maskrcnn_resnet50_fpn": (90, "person"),
        "retinanet_resnet50_fpn": (91, "__background__"),
        "ssd300_vgg16": (90, "person"),
    }
    assert origins["keypointrcnn_resnet50_fpn"].keypoints[:2] == ("nose", "left_eye")
    assert origins["maskrcnn_resnet50_fpn"].keypoints == ()
    assert origins["ssd300_vgg16"].std == (1 / 255,) * 3


def test_another_number_of_classes_of_a_published_detector_needs_a_new_head(monkeypatch):
    build = torchvision.models.detection.retinanet_resnet50_fpn
    with torch.device("meta"):
        tensors = build(weights=None, weights_backbone=None).state_dict()
        monkeypatch.setattr(pretrained, "fetch", lambda _: tensors)
        with pytest.raises(
            ModelFileError, match=r"another number of classes, and nothing of scores\.last.*model\.new_head=true"
        ):
            models.build("retinanet_resnet50_fpn", weights="coco", num_classes=3)
        network = models.build("retinanet_resnet50_fpn", weights="coco", num_classes=3, new_head=True)
    assert network.num_classes == 3
