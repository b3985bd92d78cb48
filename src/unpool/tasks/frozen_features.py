"""Features of images by a part of a network that is not trained: computed image by image, kept on disk where frozen.

What is computed of an image alone does not depend on the batch that it is in, so that features that were kept and those
computed anew are the same bits. They are kept by the modules and their weights, and by the image as the network sees
it; an augmented image is another image. Where the disk is nearly full no more are kept.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unpool.machine import cache_folder
from unpool.ops.sequence_outputs import SeenImage

MOST_BYTES = 1 << 30  # of the features that are held in memory
_LEAST_FREE = 0.05  # share of the disk that is left to others
_WORDS = 16  # letters of the names of files, of 64


class Seeing(Protocol):
    """What is asked of a network.

    Attributes:
        seeing: the modules on which features depend.
        seen: what of the image features are, in words: networks of which it is equal have equal features.
    """

    seen: str

    @property
    def seeing(self) -> Sequence[nn.Module]: ...
    def see(self, image: Tensor) -> Tensor: ...
    def __call__(self, image: Tensor) -> SeenImage: ...


class FrozenFeatures:
    """Keeps features by network and image, in memory and below the user's caches.

    Attributes:
        computed: images that went through the network since the start.
    """

    def __init__(self) -> None:
        self.computed = 0
        self._held: dict[str, NDArray[np.generic]] = {}
        self._bytes = 0
        self._known: tuple[list[Tensor], tuple[object, ...], str] = ([], (), "")  # weights, their state, their sum

    def __deepcopy__(self, memo: object) -> "FrozenFeatures":
        """Returns the same one: copies of a task, on which a step is timed, share what was computed."""
        return self

    def of(self, model: Seeing, image: Tensor) -> Tensor:
        """Features of images (B, C, H, W) as the network sees them; with gradients where its encoder is trained."""
        weights = [weight for part in model.seeing for weight in part.parameters()]
        is_frozen = not any(weight.requires_grad for weight in weights)
        is_trained = any(module.training for part in model.seeing for module in part.modules())
        if is_trained or (torch.is_grad_enabled() and not is_frozen):
            return model.see(image)
        with nullcontext() if torch.is_inference_mode_enabled() else torch.no_grad():
            if not is_frozen:
                return torch.cat([model(one[None]).features for one in image])
            network = self._network(model, image.device.type)
            return torch.cat([self._kept(model, one[None], network) for one in image])

    def _kept(self, model: Seeing, image: Tensor, network: str) -> Tensor:
        name = _sum_of([image.contiguous()], network)
        held = self._held.get(name)
        if held is None:
            path = _path(network, name)
            held = _read(path)
            if held is None:
                features = model.see(image)
                self.computed += 1
                held = features.float().cpu().numpy()
                _write(path, held)
            if self._bytes + held.nbytes <= MOST_BYTES:
                self._held[name], self._bytes = held, self._bytes + held.nbytes
        return torch.from_numpy(held).to(image.device)

    def _network(self, model: Seeing, device: str) -> str:
        """What features depend on beside the image: weights, their layout and modules, precision, threads, versions."""
        tensors = [tensor for part in model.seeing for tensor in part.state_dict(keep_vars=True).values()]
        marks = (model.seen, *((tensor.data_ptr(), tensor._version) for tensor in tensors))
        if marks != self._known[1]:  # the tensors are kept, so that no others get their addresses
            self._known = tensors, marks, _sum_of(tensors, f"{model.seen} {list(model.seeing)}")
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        facts = (self._known[2], device, str(precision), torch.get_num_threads(), torch.__version__)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:_WORDS]


def _sum_of(tensors: Sequence[Tensor], more: str) -> str:
    total = hashlib.sha256(more.encode())
    for tensor in tensors:
        total.update(repr((tensor.dtype, tuple(tensor.shape), tensor.stride())).encode())
        total.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _path(network: str, name: str) -> Path | None:
    folder = cache_folder("features")
    return None if folder is None else folder / network / f"{name}.npy"


def _read(path: Path | None) -> NDArray[np.generic] | None:
    """The features in a file; None where there is none, or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def _write(path: Path | None, features: NDArray[np.generic]) -> None:
    """Keeps features where the disk has room for them; another process may do the same at the same time."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(path.parent)
        if disk.free < _LEAST_FREE * disk.total:
            return
        new = path.with_name(f"{path.stem}.{os.getpid()}.new.npy")
        np.save(new, features)
        new.replace(path)
    except OSError:
        return
