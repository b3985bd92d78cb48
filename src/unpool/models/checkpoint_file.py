"""Reads the tensors of a file of weights that any program wrote, by its content and not by its name.

Safetensors files and those of `torch.save` are read, the latter with `weights_only=True`, so that no code in them runs.
Files that need more are refused with the way to a safetensors file.
"""

import json
import re
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unpool.errors import ModelFileError
from unpool.tracing.foreign import foreign_code

AVERAGED = "n_averaged"  # the count that torch's AveragedModel keeps beside its weights
DEEPEST = 4  # levels of tables within tables that are searched for tensors
_OTHERS = {  # how files begin that hold no tensors for torch
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with `git lfs pull`",
    b"<": "a web page: the download failed",
    b"\x93NUMPY": "a NumPy array",
    b"\x08": "an ONNX file",
}
CONVERT = (
    'Where you trust it, convert it once: python -c "import torch; from safetensors.torch import save_file; '
    "c = torch.load('{name}', map_location='cpu', weights_only=False); c = c.get('state_dict', c.get('model', c)); "
    "c = c if isinstance(c, dict) else c.state_dict(); save_file({{k: v.detach().clone().contiguous() for k, v in "
    "c.items()}}, '{stem}.safetensors')\""
)


def read_state_dicts(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """Returns every table of named tensors in a file, by its position in the file.

    Args:
        path: of a safetensors file, or one that `torch.save` wrote.

    Returns:
        Tables of tensors by name; the key is "" for a file that is one table, and "ema/module" for a table inside of
        others. Tables whose keys are no text, such as an optimiser's state, are left out.

    Raises:
        ModelFileError: the file is missing or damaged, needs code to be read, or holds no named tensors, or some that
            are sparse or without values.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(
            f"{path} is {'not a regular file' if path.exists() else 'missing'}; give a file of weights"
        )
    if path.suffix == ".json":
        _refuse_json(path)
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ModelFileError(f"{path} is empty: copy or save it again")
    for start, what in _OTHERS.items():
        if head.startswith(start) and not _is_safetensors(head):
            raise ModelFileError(f"{path} is {what}; give a .safetensors file, or a .pth file of tensors")
    is_torchs = head.startswith((b"PK", b"\x80")) and not _is_safetensors(head)
    tables = dict(_tables(_read_torch(path, head) if is_torchs else _read_safetensors(path), ""))
    if not tables:
        raise ModelFileError(f"{path} holds no table of named tensors, which `network.state_dict()` gives: save that")
    _require_values(path, tables)
    return tables


def _require_values(path: Path, tables: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Raises ModelFileError where a tensor is sparse or has no values."""
    for name, tensor in chain.from_iterable(tensors.items() for tensors in tables.values()):
        if tensor.is_meta or tensor.layout is not torch.strided:
            kind = "on device meta, without values" if tensor.is_meta else f"stored as {tensor.layout}"
            raise ModelFileError(
                f"{path} holds {name} {kind}: give tensors that hold all of their values, as to_dense() makes them of "
                "sparse ones"
            )


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a header and the header's brace."""
    return head[8:9] == b"{"


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} is not a whole safetensors file ({error}): copy or save it again") from error


def _read_torch(path: Path, head: bytes) -> Any:
    if head.startswith(b"PK"):
        _check_archive(path)
    # timm and torchvision keep a Namespace; an open file, since torch.load goes by the name of a path
    with foreign_code() as failure, torch.serialization.safe_globals([Namespace]), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)
    asked = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", str(failure.error))
    if asked is None and "weights_only" not in str(failure.error):
        raise ModelFileError(f"{path} is not a whole file of torch.save ({failure}): copy or save it again")
    needs = f" ({asked[1]})" if asked else ""
    raise ModelFileError(
        f"{path} holds more than tensors{needs}, and reading that would run code of the file. {_conversion(path)}"
    ) from failure.error


def _conversion(path: Path) -> str:
    return CONVERT.format(name=path, stem=path.with_suffix(""))


def _check_archive(path: Path) -> None:
    """Raises ModelFileError unless the zip archive is one of torch.save, whole and without code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelFileError(f"{path} is not a whole file of torch.save ({error}): copy or save it again") from error
    if damaged is not None:
        raise ModelFileError(f"{path} is damaged at {damaged}: copy or save it again")
    if any(name.endswith("constants.pkl") for name in names):
        raise ModelFileError(
            f"{path} is a TorchScript program, which runs code: save its tensors, "
            f"torch.save(torch.jit.load('{path}').state_dict(), 'weights.pth')"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ModelFileError(
            f"{path} is a zip archive that torch.save did not write (it holds {', '.join(names[:3])}); give a "
            ".safetensors file, or a .pth file of tensors"
        )


def _refuse_json(path: Path) -> None:
    """Raises ModelFileError: an index of shards, or another text."""
    with foreign_code(passing=ModelFileError):
        parts = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        raise ModelFileError(
            f"{path} is the index of weights in {len(parts)} files ({', '.join(parts[:3])}): join them into one "
            "safetensors file, with safetensors.torch.load_file of each and save_file of all"
        )
    raise ModelFileError(f"{path} is a text and holds no tensors; give a .safetensors file, or a .pth file of tensors")


def _tables(tree: Any, path: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The tables of tensors in nested tables, the outer ones first."""
    if not isinstance(tree, Mapping) or not all(isinstance(key, str) for key in tree):
        return
    tensors = {key: value for key, value in tree.items() if isinstance(value, Tensor) and key != AVERAGED}
    if tensors:
        yield path, tensors
    if path.count("/") + 1 < DEEPEST:
        for key, value in tree.items():
            yield from _tables(value, f"{path}/{key}" if path else key)
