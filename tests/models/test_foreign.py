"""Files of weights as other tools write them load whole, with a report of what went where, or are refused by name."""

import argparse
import json
import logging
from collections import OrderedDict
from functools import partial

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from tests.dilated_once import dilated_once  # noqa: F401, an autouse fixture
from unpool import models
from unpool.errors import ModelFileError, RecipeError
from unpool.models.checkpoint_file import read_state_dicts
from unpool.models.torchvision_names import from_timms_vgg, our_names

CLASSES, WIDTH = 5, 4


def randomised(network, seed=0):
    """Norms and statistics all different, so that any two exchanged are seen."""
    torch.manual_seed(seed)
    for tensor in network.state_dict().values():
        if tensor.dim() == 1:
            tensor.mul_(1 + 0.2 * torch.rand_like(tensor)).add_(0.05 * torch.rand_like(tensor))
    return network.eval()


@pytest.fixture(scope="module")
def ours():
    return randomised(models.build("resnet18", num_classes=CLASSES, width=WIDTH))


@pytest.fixture(scope="module")
def torchvisions(ours):
    """The same tensors under torchvision's names, which are those of its own network."""
    with torch.device("meta"):
        theirs = torchvision.models.resnet18().state_dict()
    return {name: ours.state_dict()[mine] for name, mine in our_names(theirs).items()}


def written(path, tree):
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in tree.items()}, path)
    else:
        torch.save(tree, path)
    return path


def loaded(path, **options):
    return models.build("resnet18", **{"num_classes": CLASSES, "width": WIDTH, "weights": path, **options}).eval()


def assert_same(network, reference, atol=1e-5):
    image = torch.rand(2, 3, 65, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(network(image), reference(image), rtol=1e-4, atol=atol)


PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.module.",
    "model._orig_mod.",
    "ema_model.module.",
    "student.classifier.",
]
NESTS = [
    lambda d: d,
    lambda d: {"state_dict": d},
    lambda d: {"model_state": d, "epoch": 3},
    lambda d: {"model": d, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}},
    lambda d: {"model": d, "args": argparse.Namespace(lr=0.1), "best_acc1": torch.tensor(70.1)},
    lambda d: {"state_dict": OrderedDict(d), "pytorch-lightning_version": "2.4", "hyper_parameters": {"lr": 0.1}},
    lambda d: {"checkpoint": {"model": {"state_dict": d}}},
    lambda d: {"ema": {"decay": 0.99, "module": d}},
]


@pytest.mark.parametrize("names", ["ours", "torchvision"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_tools_are_taken_off(tmp_path, ours, torchvisions, prefix, names):
    source = ours.state_dict() if names == "ours" else torchvisions
    path = written(tmp_path / "w.safetensors", {prefix + name: tensor for name, tensor in source.items()})
    assert_same(loaded(path), ours)


@pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt", "bin", "pth.tar", "safetensors.pth"])
@pytest.mark.parametrize("nest", range(len(NESTS)))
def test_nests_of_tools_are_opened(tmp_path, ours, torchvisions, nest, suffix):
    source = torchvisions if nest % 2 else ours.state_dict()
    tree = NESTS[nest]({f"module.{name}": tensor for name, tensor in source.items()})
    assert_same(loaded(written(tmp_path / f"w.{suffix}", tree)), ours)


def test_file_is_read_by_its_content_and_not_by_its_name(tmp_path, ours):
    path = written(tmp_path / "w.safetensors", ours.state_dict())
    assert_same(loaded(path.rename(tmp_path / "w.pth")), ours)
    torch.save(ours.state_dict(), tmp_path / "zip.safetensors")
    assert_same(loaded(tmp_path / "zip.safetensors"), ours)
    torch.save(ours.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(loaded(tmp_path / "old.pth"), ours)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_the_report_says_so(tmp_path, ours, caplog, dtype):
    caplog.set_level("INFO", logger="unpool")
    half = {n: t.to(dtype) if t.is_floating_point() else t for n, t in ours.state_dict().items()}
    network = loaded(written(tmp_path / "w.safetensors", half))
    assert all(torch.equal(t, half[n].to(t.dtype)) for n, t in network.state_dict().items())
    assert f"became float32: {str(dtype).removeprefix('torch.')}" in caplog.text


def test_counts_of_batches_may_lack(tmp_path, ours, caplog):
    caplog.set_level("INFO", logger="unpool")
    path = written(tmp_path / "w.pth", {n: t for n, t in ours.state_dict().items() if "num_batches" not in n})
    network = loaded(path)
    assert_same(network, ours)
    assert network.backbone.stem.norm.num_batches_tracked == 0
    assert "counts of batches begin at 0: 20" in caplog.text


def test_wrappers_of_torch_itself_load(tmp_path, ours):
    wrapped = torch.optim.swa_utils.AveragedModel(nn.DataParallel(ours))
    assert_same(loaded(written(tmp_path / "swa.pth", wrapped.state_dict())), ours)
    inner = {n.replace("backbone.", "backbone._orig_mod.module."): t for n, t in ours.state_dict().items()}
    assert_same(loaded(written(tmp_path / "inner.pth", inner)), ours)


def test_averaged_weights_are_taken_and_the_report_says_so(tmp_path, ours, torchvisions, caplog):
    other = randomised(models.build("resnet18", num_classes=CLASSES, width=WIDTH), seed=9).state_dict()
    for key, nest in (("model_ema", lambda d: d), ("state_dict_ema", lambda d: d), ("ema", lambda d: {"shadow": d})):
        caplog.clear()
        tree = {"state_dict": other, key: nest(torchvisions)}
        assert_same(loaded(written(tmp_path / "first.pth", dict(reversed(tree.items())))), ours)
        assert_same(loaded(written(tmp_path / "w.pth", tree)), ours)
        assert "the averaged weights, not those below: 'state_dict'" in caplog.text
        assert key in caplog.text


def test_two_sets_that_fit_are_refused(tmp_path, ours):
    other = models.build("resnet18", num_classes=CLASSES, width=WIDTH).state_dict()
    for keys in (("student", "teacher"), ("encoder_q", "encoder_k"), ("a", "b")):
        path = written(tmp_path / "w.pth", dict(zip(keys, (ours.state_dict(), other), strict=True)))
        with pytest.raises(ModelFileError, match=rf"more than one set .*'{keys[0]}' and '{keys[1]}'.*save one"):
            loaded(path)
    same = written(tmp_path / "same.pth", {"model": ours.state_dict(), "copy": ours.state_dict()})
    assert_same(loaded(same), ours)  # one set under two names


def test_tensors_beside_the_network_are_named_as_not_used(tmp_path, ours, caplog):
    tree = {**{f"model.{n}": t for n, t in ours.state_dict().items()}, "criterion.weight": torch.ones(CLASSES)}
    assert_same(loaded(written(tmp_path / "w.ckpt", {"state_dict": tree})), ours)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.endswith("loaded 122 tensors (those below 'state_dict/model.'); not used: criterion.weight")


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "encoder."])
@pytest.mark.parametrize("names", ["ours", "torchvision", "backbone alone"])
def test_classifiers_file_starts_the_backbone_of_a_decoder(tmp_path, ours, torchvisions, names, prefix, caplog):
    source = {"ours": ours.state_dict(), "torchvision": torchvisions, "backbone alone": ours.backbone.state_dict()}[
        names
    ]
    path = written(tmp_path / "w.pth", {prefix + name: tensor for name, tensor in source.items()})
    torch.manual_seed(1)
    network = models.build("unet", backbone="resnet18", width=WIDTH, num_classes=3, weights=path)
    assert all(torch.equal(t, ours.backbone.state_dict()[n]) for n, t in network.backbone.state_dict().items())
    torch.manual_seed(1)
    new = models.build("unet", backbone="resnet18", width=WIDTH, num_classes=3).state_dict()
    assert all(torch.equal(t, new[n]) for n, t in network.state_dict().items() if not n.startswith("backbone."))
    assert "into the backbone" in caplog.text
    assert "new, with initial weights: all but the backbone" in caplog.text
    assert ("not used" in caplog.text) == (names != "backbone alone")


def test_segmentation_network_starts_the_backbone_of_another_decoder_and_of_itself(tmp_path, ours, caplog):
    trained = models.build("fpn", backbone="resnet18", width=WIDTH, num_classes=3)
    trained.backbone.load_state_dict(ours.backbone.state_dict())
    path = written(tmp_path / "model.safetensors", trained.state_dict())
    network = models.build("unet", backbone="resnet18", width=WIDTH, num_classes=3, weights=path)
    assert torch.equal(network.backbone.stem.conv.weight, ours.backbone.stem.conv.weight)
    assert "all but the backbone" in caplog.text
    again = models.build("fpn", backbone="resnet18", width=WIDTH, num_classes=3, weights=path)
    assert all(torch.equal(t, trained.state_dict()[n]) for n, t in again.state_dict().items())


def test_decoder_of_other_classes_is_no_reason_to_take_the_backbone_alone(tmp_path):
    path = written(
        tmp_path / "w.pth", models.build("unet", backbone="resnet18", width=WIDTH, num_classes=3).state_dict()
    )
    with pytest.raises(ModelFileError, match=r"another shape: .*\(3,.* for \(4,.*model\.new_head=true"):
        models.build("unet", backbone="resnet18", width=WIDTH, num_classes=4, weights=path)
    network = models.build("unet", backbone="resnet18", width=WIDTH, num_classes=4, weights=path, new_head=True)
    saved = torch.load(path)
    different = {n for n, t in network.state_dict().items() if t.shape != saved[n].shape}
    assert 0 < len(different) <= 2
    assert all(torch.equal(t, saved[n]) for n, t in network.state_dict().items() if n not in different)


def test_decoder_that_lacks_a_tensor_is_refused_whole(tmp_path):
    tensors = models.build("unet", backbone="resnet18", width=WIDTH, num_classes=3).state_dict()
    name = next(name for name in tensors if not name.startswith("backbone."))
    del tensors[name]
    with pytest.raises(ModelFileError, match=rf"1 missing: {name}"):
        models.build(
            "unet", backbone="resnet18", width=WIDTH, num_classes=3, weights=written(tmp_path / "w.pth", tensors)
        )


@pytest.mark.parametrize("path", ["classifier", "unet", "deeplabv3"])
def test_timms_file_fits_timms_network_and_backbone(tmp_path, path):
    theirs = randomised(timm.create_model("mobilenetv3_small_050", num_classes=CLASSES))
    file = written(tmp_path / "w.pth", {"state_dict": {f"module.{n}": t for n, t in theirs.state_dict().items()}})
    if path == "classifier":
        network = models.build("timm/mobilenetv3_small_050", num_classes=CLASSES, weights=file)
        assert all(torch.equal(t, theirs.state_dict()[n]) for n, t in network.state_dict().items())
    else:
        network = models.build(path, backbone="timm/mobilenetv3_small_050", num_classes=2, weights=file)
        assert all(torch.equal(t, theirs.state_dict()[n]) for n, t in network.backbone.state_dict().items())


def test_timms_names_fit_the_same_network_of_ours(tmp_path):
    for theirs in (
        timm.create_model("resnet18", num_classes=CLASSES),
        torchvision.models.resnet18(num_classes=CLASSES),
    ):
        path = written(tmp_path / "r.pth", randomised(theirs).state_dict())
        assert_same(models.build("resnet18", num_classes=CLASSES, weights=path).eval(), theirs)
    with torch.device("meta"):
        vgg, network = timm.create_model("vgg11_bn"), models.build("vgg11_bn")
    tensors = from_timms_vgg(vgg.state_dict())
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in network.state_dict().items()}


def test_timms_vgg_gives_the_same_answers():
    theirs = randomised(timm.models.vgg.VGG([8, "M"] * 5, num_classes=4))
    renamed = from_timms_vgg(theirs.state_dict())
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        features = theirs.features(image).flatten(1)
        hidden = torch.relu(features @ renamed["head.fc6.weight"].T + renamed["head.fc6.bias"])
        hidden = torch.relu(hidden @ renamed["head.fc7.weight"].T + renamed["head.fc7.bias"])
        expected = hidden @ renamed["head.fc8.weight"].T + renamed["head.fc8.bias"]
        torch.testing.assert_close(theirs(image), expected, rtol=1e-4, atol=1e-4)


def test_file_without_a_head_needs_a_new_one(tmp_path, ours, torchvisions, caplog):
    body = {n: t for n, t in torchvisions.items() if not n.startswith("fc.")}
    path = written(tmp_path / "w.pth", body)
    with pytest.raises(ModelFileError, match=r"2 missing: head\.linear\.weight, head\.linear\.bias"):
        loaded(path)
    network = loaded(path, new_head=True)
    assert torch.equal(network.backbone.stem.conv.weight, ours.backbone.stem.conv.weight)
    assert "new, with initial weights: head.linear.bias, head.linear.weight" in caplog.text
    written(path, {f"module.{name}": tensor for name, tensor in torchvisions.items()})
    caplog.clear()
    loaded(path, new_head=True)
    assert caplog.text.strip().endswith(
        "new, with initial weights: head.linear.bias, head.linear.weight; not used: module.fc.bias, module.fc.weight"
    )


def test_new_head_is_new_also_where_the_classes_are_as_many(tmp_path, ours):
    path = written(tmp_path / "w.pth", ours.state_dict())
    torch.manual_seed(4)
    network = loaded(path, new_head=True)
    torch.manual_seed(4)
    assert torch.equal(
        network.head.linear.weight, models.build("resnet18", num_classes=CLASSES, width=WIDTH).head.linear.weight
    )
    with pytest.raises(RecipeError, match="set weights too"):
        models.build("resnet18", new_head=True)


REFUSED = {
    "another depth": (lambda t: {**t, "layer1.2.conv1.weight": t["layer1.1.conv1.weight"]}, "1 not in this network"),
    "what its names say": (
        lambda t: {f"module.{n}": x for n, x in torchvision.models.resnet34().state_dict().items()},
        "tensors are those of resnet34, in torchvision's names",
    ),
    "a tensor too many": (lambda t: {**t, "layer1.0.se.weight": torch.ones(3)}, "layer1.0.se.weight"),
    "a tensor too few": (lambda t: {n: x for n, x in t.items() if n != "layer2.0.bn1.bias"}, r"1 missing: backbone\."),
    "permuted filters": (
        lambda t: {n: x.permute(2, 3, 1, 0) if x.dim() == 4 else x for n, x in t.items()},
        "axes are in another order, as TensorFlow and Keras",
    ),
    "transposed head": (lambda t: {**t, "fc.weight": t["fc.weight"].T}, r"linear\.weight \(32, 5\) for \(5, 32\)"),
    "NaN": (lambda t: {**t, "bn1.bias": t["bn1.bias"] * float("nan")}, r"not finite in backbone\.stem\.norm\.bias"),
    "infinity": (lambda t: {**t, "fc.bias": t["fc.bias"] + float("inf")}, r"not finite in head\.linear\.bias"),
    "too large for float32": (lambda t: {**t, "fc.bias": t["fc.bias"].double() + 1e300}, "not finite in head"),
    "whole numbers": (lambda t: {**t, "fc.bias": torch.ones(5, dtype=torch.int8)}, "1 of another kind: head.l"),
    "other words": (lambda t: {f"vit.blocks.{i}.w": torch.ones(3) for i in range(9)}, "begin with 'vit.'"),
    "no tensors": (lambda t: {"epoch": 3}, "no table of named tensors"),
    "a tensor alone": (lambda t: torch.ones(3), "no table of named tensors"),
    "a list": (lambda t: list(t.values()), "no table of named tensors"),
    "no names": (lambda t: {"shadow_params": list(t.values())}, "no table of named tensors"),
    "optimiser": (lambda t: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, "no table of named tensors"),
    "a module": (lambda t: nn.Linear(2, 2), r"more than tensors \(torch\.nn\.\S+Linear\).*convert it once"),
    "other classes": (lambda t: {**t, "fc.weight": torch.ones(7, 32), "fc.bias": torch.ones(7)}, "new_head=true"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_name(tmp_path, torchvisions, case):
    change, says = REFUSED[case]
    path = written(tmp_path / "w.pth", change(dict(torchvisions)))
    torch.manual_seed(0)
    with pytest.raises(ModelFileError, match=says):
        loaded(path)


def test_damaged_and_foreign_files_are_refused(tmp_path, ours):
    whole = written(tmp_path / "w.pth", ours.state_dict()).read_bytes()
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    cases = {
        "empty.pth": (b"", "is empty"),
        "cut.pth": (whole[: len(whole) // 2], "not a whole file of torch.save"),
        "flipped.pth": (bytes(middle), "is damaged at"),
        "script.pt": ((tmp_path / "script.pt").read_bytes(), "TorchScript program"),
        "model.safetensors.index.json": (json.dumps(index).encode(), r"index of weights in 2 files.*join them"),
        "other.json": (b"{}", "holds no tensors"),
        "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        "lfs.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        "page.pth": (b"<!DOCTYPE html><html>", "web page"),
        "text.pth": (b"hello, this is no file of weights at all", "not a whole safetensors file"),
        "archive.zip": (b"PK\x05\x06" + bytes(18), "torch.save did not write"),
    }
    for name, (content, says) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=says):
            loaded(tmp_path / name)
    part = written(tmp_path / "model-00001-of-00002.safetensors", dict(list(ours.state_dict().items())[:40]))
    with pytest.raises(ModelFileError, match="one of several files"):
        loaded(part)


@pytest.mark.parametrize(("kind", "says"), [("to_sparse", "sparse_coo"), ("meta", "meta, without values")])
def test_tensors_that_do_not_hold_all_of_their_values_are_refused_by_name(tmp_path, kind, says):
    weight = torch.ones(4, 3)
    path = written(tmp_path / "weights.pth", {"fc.weight": weight.to(kind) if kind == "meta" else weight.to_sparse()})
    with pytest.raises(ModelFileError, match=rf"holds fc\.weight .*{says}: give tensors that hold all"):
        read_state_dicts(path)


def test_code_in_a_file_never_runs(tmp_path):
    class Marks:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Marks()}, tmp_path / "evil.pth")
    with pytest.raises(ModelFileError, match="would run code"):
        loaded(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_command_in_the_refusal_converts_the_file(tmp_path, ours):
    path = written(
        tmp_path / "w.ckpt", {"state_dict": ours.state_dict(), "callbacks": {"fit": CLASSES, "x": nn.ReLU()}}
    )
    with pytest.raises(ModelFileError) as caught:
        loaded(path)
    code = str(caught.value).partition('-c "')[2].rpartition('"')[0]
    exec(code, {})
    assert_same(loaded(tmp_path / "w.safetensors"), ours)


def test_networks_of_equal_shapes_are_not_taken_for_one_another(tmp_path):
    """ResNet v1 has its stride in another convolution; LeNet-5 for 28 pixels pads its images."""
    with torch.device("meta"):
        names = our_names(torchvision.models.resnet50().state_dict())
    mine = models.build("resnet50", width=WIDTH).state_dict()
    tensors = {name: mine[our_name] for name, our_name in names.items()}
    with pytest.raises(ModelFileError, match=r"does not fit this network.* not in this network: conv1\.weight"):
        models.build("resnet50_v1", width=WIDTH, weights=written(tmp_path / "tv.pth", tensors))
    models.build("resnet50", width=WIDTH, weights=tmp_path / "tv.pth")
    run = tmp_path / "run"
    run.mkdir()
    path = written(run / "model.safetensors", models.build("lenet5").state_dict())
    (run / "config.json").write_text(json.dumps({"network": {"name": "lenet5", "backbone": None}}))
    with pytest.raises(ModelFileError, match="saved from lenet5, and this is lenet5_28"):
        models.build("lenet5_28", weights=path)
    models.build("lenet5", weights=path)
    (run / "config.json").write_text(json.dumps({"network": {"name": "Net", "backbone": None}, "custom": ["model"]}))
    models.build("lenet5", weights=path)  # of a network of the caller's the shapes decide


def of_run(folder, network, name, backbone=None, **options):
    """A file of weights with the config.json of a run beside it."""
    folder.mkdir()
    section = {"name": name, "backbone": backbone, "options": options}
    (folder / "config.json").write_text(json.dumps({"network": section}))
    return written(folder / "model.safetensors", network.state_dict())


def test_run_of_another_network_is_refused_below_a_prefix_too(tmp_path):
    """`unet_mirror` keeps the tensors of `unet_same` below `valid.net.`; the network has a prefix in its turn."""
    path = of_run(tmp_path / "run", models.build("unet_mirror", num_classes=2, width=2), "unet_mirror", width=2)
    for other in ("unet_same", "unet_valid"):
        with pytest.raises(ModelFileError, match=f"saved from unet_mirror, and this is {other}.*choose unet_mirror"):
            models.build(other, num_classes=2, width=2, weights=path)
    models.build("unet_mirror", num_classes=2, width=2, weights=path)


def test_run_of_other_options_is_refused_and_the_message_sets_them(tmp_path, caplog):
    build = partial(models.build, "deeplabv3", backbone="resnet18", width=WIDTH, num_classes=2, head_width=8)
    stated = {"width": WIDTH, "head_width": 8, "output_stride": 8, "rates": [2, 4, 6]}
    dilated = build(output_stride=8, rates=(2, 4, 6))
    path = of_run(tmp_path / "run", dilated, "deeplabv3", "resnet18", **stated)
    with pytest.raises(ModelFileError, match=r"Set model\.output_stride=8 model\.rates=\[2,4,6\] .*without that c"):
        build(weights=path)
    with pytest.raises(ModelFileError, match=r"rates \[2, 4, 6\], not \[6, 12, 18\]: .*Set model\.rates=\[2,4,6\] "):
        build(weights=path, output_stride=8)
    assert_same(build(weights=path, output_stride=8, rates=(2, 4, 6)).eval(), dilated.eval())
    models.build("unet", backbone="resnet18", width=WIDTH, num_classes=2, weights=path)
    assert "into the backbone" in caplog.text


def test_default_that_a_run_left_out_is_compared_and_dropout_is_not(tmp_path):
    build = partial(models.build, "fcn", backbone="resnet18", width=WIDTH, num_classes=2)
    path = of_run(tmp_path / "run", build(), "fcn", "resnet18", width=WIDTH, dropout=0.3)
    build(weights=path)
    with pytest.raises(ModelFileError, match=r"align stride, not sizes.*Set model\.align=stride "):
        build(weights=path, align="sizes")


def test_run_of_a_decoder_on_another_backbone_of_the_same_shapes_is_refused(tmp_path):
    build = partial(models.build, "unet", width=WIDTH, num_classes=2)
    path = of_run(tmp_path / "run", build(backbone="resnet50"), "unet", "resnet50", width=WIDTH)
    with pytest.raises(ModelFileError, match=r"backbone resnet50, not resnet50_v1.*Set model\.backbone=resnet50 "):
        build(backbone="resnet50_v1", stem_bias=False, weights=path)
    with pytest.raises(ModelFileError, match="saved from unet with the backbone resnet50: build that"):
        build(backbone="resnet18", weights=path)


def test_torchvisions_segmentation_is_told_where_its_answers_lie(tmp_path, caplog):
    theirs = randomised(
        torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=2)
    )
    path = written(tmp_path / "w.pth", theirs.state_dict())
    models.build("fcn_resnet50", num_classes=2, weights=path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "only at sizes that 8 divides; for its answers at all sizes, set: model.align=sizes" in record.message
    caplog.clear()
    network = models.build("fcn_resnet50", num_classes=2, weights=path, align="sizes").eval()
    assert caplog.records == []
    image = torch.rand(1, 3, 41, 50)
    with torch.no_grad():
        torch.testing.assert_close(network(image), theirs(image)["out"], rtol=1e-4, atol=1e-4)


def test_averages_are_named_by_whole_words(tmp_path, ours):
    other = randomised(models.build("resnet18", num_classes=CLASSES, width=WIDTH), seed=9).state_dict()
    for word in ("semantic", "schema", "foreshadow", "teacher"):
        path = written(tmp_path / "w.pth", {"instance": other, word: ours.state_dict()})
        with pytest.raises(ModelFileError, match=f"more than one set .*'instance' and '{word}'"):
            loaded(path)
    for word in ("model_ema", "EMA", "averaged-model", "net.shadow"):
        assert_same(loaded(written(tmp_path / "w.pth", {"instance": other, word: ours.state_dict()})), ours)


def test_what_an_optimizer_keeps_is_never_loaded(tmp_path, ours):
    zeros = {name: torch.zeros_like(tensor) for name, tensor in ours.state_dict().items()}
    for word in ("optimizer_exp_averages", "momentum", "exp_avg_sq", "momentum_buffer", "optim.shadow"):
        assert_same(loaded(written(tmp_path / "w.pth", {word: zeros, "model": ours.state_dict()})), ours)
        with pytest.raises(ModelFileError, match="what an optimizer keeps and no network"):
            loaded(written(tmp_path / "w.pth", {word: zeros}))
    with pytest.raises(ModelFileError, match="'encoder' and 'momentum_encoder'"):  # two networks, as MoCo names them
        loaded(written(tmp_path / "w.pth", {"encoder": ours.state_dict(), "momentum_encoder": zeros}))


def test_words_below_features_are_no_numbers_of_a_vgg(tmp_path, ours, torchvisions):
    with torch.device("meta"):
        names = torchvision.models.densenet121().state_dict()
    path = written(tmp_path / "densenet.pth", {name: torch.ones(2) for name in names})
    with pytest.raises(ModelFileError, match=r"does not fit this network \(resnet18\)"):
        loaded(path)
    path = written(tmp_path / "w.pth", {f"features.{name}": tensor for name, tensor in torchvisions.items()})
    assert_same(loaded(path), ours)
