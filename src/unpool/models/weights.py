"""Saves weights to safetensors files, loads them with strict checks, and renames those of torchvision's checkpoints."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from unpool.errors import EnvironmentFault, ModelFileError
from unpool.models.torchvision_names import our_names
from unpool.task import split_state

SHOWN = 5  # names of each kind that an error lists


def save_weights(path: str | Path, weights: nn.Module | Mapping[str, Tensor]) -> Path:
    """Writes all parameters and buffers of a module, or a table of tensors; the file is replaced whole or not at all.

    The tensors may be views of the file that is replaced, and may share memory.

    Args:
        path: the file; its folder is made.
        weights: a module, or tensors by name.

    Returns:
        The path.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    path = Path(path)
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(_separate(tensors), temporary, metadata={"format": "pt"})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise EnvironmentFault(f"{path} cannot be written: {error}; free space or choose another path") from error
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()
    return path


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the host; a copy where one is not, or shares memory with an earlier one."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        result[name] = plain
    return result


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Returns all tensors of a safetensors file by name, as views of the file.

    Raises:
        ModelFileError: the file is missing, is no safetensors file, is damaged, or holds values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(
            f"{path} is {'not a regular file' if path.exists() else 'missing'}; give a .safetensors file"
        )
    try:
        return _finite(load_file(path), source=path)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} is not a whole safetensors file ({error}): copy or save it again") from error


def parse_weights(
    data: bytes, *, source: str | Path, known: Mapping[str, Tensor] = MappingProxyType({})
) -> dict[str, Tensor]:
    """Returns the same of the content of a file.

    Args:
        data: the content.
        source: path of the file.
        known: tensors of the network by name, which may hold infinity where the file has the same.

    Raises:
        ModelFileError: the content is no safetensors file, is damaged, or holds values that are not finite.
    """
    try:
        return _finite(load(data), source=source, known=known)
    except SafetensorError as error:
        raise ModelFileError(f"{source} is not a whole safetensors file ({error}): copy or save it again") from error


def _finite(
    tensors: dict[str, Tensor], *, source: str | Path, known: Mapping[str, Tensor] = MappingProxyType({})
) -> dict[str, Tensor]:
    if broken := not_finite(tensors, known):
        raise ModelFileError(f"{source} holds values that are not finite in {some(broken)}: take earlier weights")
    return tensors


def not_finite(tensors: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of tensors that are not finite, but for those that are equal in `known`.

    A network may hold infinity by itself, such as a mask of attention; weights that were trained to it are broken.

    Example:
        >>> mask, weight = torch.tensor([0.0, -torch.inf]), torch.tensor([torch.nan])
        >>> not_finite({"mask": mask, "weight": weight}, {"mask": mask.clone(), "weight": weight})
        ['weight']
    """
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    return [name for name in broken if name not in known or not torch.equal(tensors[name], known[name].cpu())]


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Copies the network's weights in a safetensors file into a network; nothing is copied unless everything fits.

    Raises:
        ModelFileError: the file cannot be read or does not fit: see `read_weights` and `assign_weights`.
    """
    network, _ = split_state(read_weights(path))
    assign_weights(model, network, source=str(path))


def assign_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Copies tensors into a module's parameters and buffers by name; nothing is copied unless everything fits.

    Args:
        model: any module.
        tensors: one for each name in the module's `state_dict`.
        source: file or address of the tensors, for the message.

    Raises:
        ModelFileError: a name is missing or unknown, or a shape or the kind of number differs; the message lists all.
    """
    state = model.state_dict()
    both = [name for name in state if name in tensors]
    problems = {
        "missing": [name for name in state if name not in tensors],
        "not in this network": [name for name in tensors if name not in state],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(state[name].shape)}"
            for name in both
            if tensors[name].shape != state[name].shape
        ],
        "of another kind": [
            f"{name} {tensors[name].dtype} for {state[name].dtype}"
            for name in both
            if tensors[name].is_floating_point() != state[name].is_floating_point()
        ],
    }
    if any(problems.values()):
        raise ModelFileError(
            f"{source} does not fit this network. {describe_problems(problems)}. Build the network it was saved from"
        )
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(tensors[name])


def describe_problems(problems: Mapping[str, Sequence[str]]) -> str:
    """Returns a sentence for each kind of problem, with the first names."""
    return ". ".join(f"{len(names)} {what}: {some(names)}" for what, names in problems.items() if names)


def from_torchvision(tensors: Mapping[str, Tensor], *, strict: bool = True) -> dict[str, Tensor]:
    """Renames the `state_dict` of one of torchvision's networks to the names of ours.

    The result fits `build` of the same name for resnet*, vgg*, fcn_resnet* and deeplabv3_resnet*, of
    "alexnet_torchvision" for alexnet and "googlenet_torchvision" for googlenet; with "_aux" after the name if the
    tensors include auxiliary heads.

    Args:
        tensors: by torchvision's names.
        strict: see `our_names`.

    Raises:
        ModelFileError: a name is of none of these networks.
    """
    return {ours: tensors[theirs] for theirs, ours in our_names(tensors, strict=strict).items()}


def some(names: Sequence[str]) -> str:
    """Returns the first names, and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
