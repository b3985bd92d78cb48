"""Enrolled people: a folder with their embeddings (safetensors) and names (JSON), bound to the network behind them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from unpool.data.image_file import printable
from unpool.errors import EnvironmentFault, ModelFileError, RecipeError
from unpool.manifest import check_format
from unpool.model_file import FILES
from unpool.ops.embedding_losses import distances

FORMAT = 1
VECTORS, NAMES = "gallery.safetensors", "gallery.json"
UNKNOWN = "unknown"
_KEY = "embedding"
_LARGEST = 1 << 30  # bytes of a file of a gallery


class Match(NamedTuple):
    """An enrolled person: the distance of the nearest image, and its file."""

    person: str
    distance: float
    file: str


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Embeddings of people.

    Attributes:
        people: name of each row.
        files: the image of each row, as it was enrolled.
        vectors: (N, E) float32 of length 1.
        threshold: distance up to which a person is known; None where none was chosen in training.
        model: sum of the network's files, see `sum_of_model`.
    """

    people: tuple[str, ...]
    files: tuple[str, ...]
    vectors: Tensor
    threshold: float | None
    model: str

    def matches(self, vector: Tensor) -> list[Match]:
        """Every enrolled person once, by the nearest image, the nearest person first; of equal ones by name.

        Args:
            vector: (E,) of length 1.

        Example:
            >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
            >>> gallery = Gallery(people=("ann", "bob"), files=("a", "b"), vectors=vectors, threshold=1.0, model="")
            >>> [(one.person, round(one.distance, 2)) for one in gallery.matches(torch.tensor([0.6, 0.8]))]
            [('bob', 0.63), ('ann', 0.89)]
        """
        away = distances(vector[None], self.vectors)[0].tolist()
        best: dict[str, Match] = {}
        for match in sorted(map(Match, self.people, away, self.files), key=lambda one: (one.distance, one.person)):
            best.setdefault(match.person, match)
        return list(best.values())


def sum_of_model(run: Path, weights: str) -> str:
    """The sha256 of a run's config.json and weights together: another network, or another training, has another."""
    data = hashlib.sha256()
    for name in ("config.json", FILES[weights]):
        data.update(hashlib.sha256((run / name).read_bytes()).digest())
    return data.hexdigest()


def write_gallery(gallery: Gallery, folder: Path) -> None:
    """Writes a gallery into a folder that does not exist.

    Raises:
        RecipeError: it exists.
        EnvironmentFault: it cannot be written.
    """
    if folder.exists():
        raise RecipeError(f"{printable(folder)} exists already and is not replaced; choose another folder by -o")
    vectors = save({_KEY: gallery.vectors.contiguous()})
    values = {
        "format": FORMAT,
        "model": gallery.model,
        "threshold": gallery.threshold,
        "people": list(gallery.people),
        "files": list(gallery.files),
        "vectors": hashlib.sha256(vectors).hexdigest(),
    }
    try:
        folder.mkdir(parents=True)
        (folder / VECTORS).write_bytes(vectors)
        (folder / NAMES).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"cannot write into {printable(folder)}: {error.strerror}; choose another") from error


def read_gallery(folder: Path, model: str) -> Gallery:
    """The gallery of a folder.

    Args:
        folder: that `write_gallery` wrote.
        model: sum of the network that is to be asked.

    Raises:
        ModelFileError: it is missing, damaged, from a newer version, or was made by another network.
    """
    try:
        values = json.loads(_bytes(folder / NAMES))
        check_format(values.get("format"), FORMAT, source=folder / NAMES)
        data = _bytes(folder / VECTORS)
        if hashlib.sha256(data).hexdigest() != values["vectors"]:
            raise ModelFileError(f"{printable(folder / VECTORS)} is not what {NAMES} was written for: enroll anew")
        gallery = _parsed(values, load(data)[_KEY])
    except ModelFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ModelFileError(f"{printable(folder)} is damaged ({error!r:.100}): enroll the people anew") from error
    if gallery.model != model:
        raise ModelFileError(
            f"{printable(folder)} was enrolled by another network, or by other weights of this one: distances to it "
            "mean nothing; enroll the people anew with this run and these weights"
        )
    return gallery


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ModelFileError(f"no file {printable(path)}: a gallery is a folder that `unpool enroll` wrote")
    if path.stat().st_size > _LARGEST:
        raise ModelFileError(f"{printable(path)} has {path.stat().st_size:,} bytes and is no file of a gallery")
    return path.read_bytes()


def _parsed(values: dict[str, Any], vectors: Tensor) -> Gallery:
    """The gallery of its two files; raises ValueError where they do not agree."""
    people, files, threshold = values["people"], values["files"], values["threshold"]
    is_named = all(isinstance(name, str) for name in [*people, *files])
    if not is_named or vectors.dim() != 2 or not len(people) == len(files) == len(vectors) > 0:
        raise ValueError("names and vectors differ in number")
    if vectors.dtype != torch.float32 or ((vectors.norm(dim=1) - 1).abs() > 1e-4).any():
        raise ValueError("vectors are not of length 1")
    known = None if threshold is None else float(threshold)
    if known is not None and not 0 <= known <= 2:
        raise ValueError(f"the threshold is {known}")
    return Gallery(people=tuple(people), files=tuple(files), vectors=vectors, threshold=known, model=values["model"])


def judged(matches: Sequence[Match], threshold: float) -> str:
    """The name of the nearest person, or UNKNOWN where that is farther than the threshold.

    Example:
        >>> judged([Match("ann", 0.4, "a.jpg")], 0.5), judged([Match("ann", 0.6, "a.jpg")], 0.5)
        ('ann', 'unknown')
    """
    return matches[0].person if matches[0].distance <= threshold else UNKNOWN
