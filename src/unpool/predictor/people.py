"""Who is it: enrolls people by their images, names the person of a photograph, and compares two photographs.

The images are to be crops that are aligned as those of training were: no face is looked for.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unpool.data.image_file import printable
from unpool.data.readers.person_folders import people_in
from unpool.data.root import require_root
from unpool.errors import DataError, EnvironmentFault, ModelFileError, RecipeError, require_files
from unpool.ops.drawing import drawable
from unpool.ops.drawing_sheet import draw_sheet
from unpool.ops.embedding_losses import distances
from unpool.predictor.asked import list_images, reasons, stems
from unpool.predictor.gallery import UNKNOWN, Gallery, Match, judged, read_gallery, sum_of_model, write_gallery
from unpool.predictor.images import read_image
from unpool.predictor.loading import load
from unpool.predictor.predictor import Predictor
from unpool.tasks.one_forward import Vectors

MATCHES = 5  # people that an answer lists
SHOWN = 3  # of them in a picture
_QUALITY = 90
_log = logging.getLogger(__name__)


def enroll(
    run: Path,
    people: Path,
    out: Path,
    *,
    weights: str = "last",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Writes a gallery of the people in a folder, each a folder of images.

    Args:
        run: directory of a run that learned embeddings.
        people: PEOPLE/<person>/*.jpg, crops that are aligned as those of training.
        out: folder to make, for gallery.safetensors and gallery.json.
        weights: "last" or "best".
        progress: called with (images done, images in all).

    Returns:
        `gallery`, `people` and `images`: the folder and two counts; `threshold`, a distance, None where none is known.

    Raises:
        DataError: an image cannot be read; names each. Or a person is called "unknown", or there is none.
        RecipeError: the run learned something else, or `out` exists.
        ModelFileError: the run's files are missing or damaged.

    Example:
        >>> import tempfile
        >>> import unpool
        >>> small = {"data.size": [32, 32], "data.train_images": 2, "data.order": {"p_times_k": {"per_class": 2}}}
        >>> small |= {"data.workers": 0, "model.width": 4, "train.epochs": 1, "train.batch": 4}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run, people, gallery = Path(folder, "run"), Path(folder, "people"), Path(folder, "gallery")
        ...     for name, red in (("ann", 40), ("ben", 200)):
        ...         (people / name).mkdir(parents=True)
        ...         for shade in range(3):
        ...             Image.new("RGB", (32, 32), (red, 60 * shade, 90)).save(people / name / f"{shade}.png")
        ...     _ = unpool.train("orl_triplet", {**small, "data.root": str(people)}, run=run)
        ...     enrolled = unpool.enroll(run, people, gallery)
        ...     answers = unpool.identify(run, gallery, [people / "ann" / "0.png"], threshold=1.0)
        >>> enrolled["people"], enrolled["images"], answers[0]["person"]
        (2, 6, 'ann')
    """
    asked = _Asked(Path(run), weights)
    if Path(out).exists():
        raise RecipeError(f"{printable(out)} exists already and is not replaced; choose another folder by -o")
    root = require_root(Path(people))
    album = people_in(root, least=1)
    for note in (*album.notes, *(f"{fault.path}: {fault.reason}" for fault in album.faults)):
        _log.warning("%s", note)
    if UNKNOWN in album.people:
        raise DataError(f"a person is called {UNKNOWN}, which is the answer for strangers: rename or remove the folder")
    named = [(person, file) for person, files in album.people.items() for file in files]
    vectors, problems = [], {}
    for done, (_, file) in enumerate(named):
        progress(done, len(named))
        try:
            vectors.append(asked.vector(root / file))
        except DataError as error:
            require_files(error)
            problems[file] = str(error)
    progress(len(named), len(named))
    if problems:
        raise DataError(f"{len(problems)} of {len(named)} images cannot be enrolled:\n{reasons(problems)}")
    names, files = zip(*named, strict=True)
    gallery = Gallery(
        people=names, files=files, vectors=torch.stack(vectors), threshold=asked.threshold, model=asked.model
    )
    write_gallery(gallery, Path(out))
    counts = {"people": len(set(names)), "images": len(files)}
    return {"gallery": str(out), **counts, "threshold": asked.threshold}


def identify(
    run: Path,
    gallery: Path,
    images: Sequence[str | Path],
    *,
    out: Path | None = None,
    people: Path | None = None,
    threshold: float | None = None,
    weights: str = "last",
) -> list[dict[str, Any]]:
    """Names the person of each photograph, among those of a gallery.

    Args:
        run: the run that enrolled the gallery.
        gallery: its folder.
        images: files, folders or patterns of aligned crops.
        out: folder for a picture of each photograph and its best matches; None draws none.
        people: folder that was enrolled, whose images stand beside the photograph in a picture.
        threshold: distance above which a person is unknown; None takes that of training.
        weights: as in `enroll`.

    Returns:
        One record an image: `image`, `person` ("unknown" above the threshold), `distance`, `threshold` and `matches`,
        the best five with person, distance and enrolled file; or `image` and `error`.

    Raises:
        RecipeError: no threshold was chosen in training and none is given.
        ModelFileError: the gallery is damaged, or of another network.
        DataError: no image can be read.

    Example:
        >>> identify(Path("runs/a"), Path("gallery"), ["photo.jpg"])
        Traceback (most recent call last):
        unpool.errors.ModelFileError: no run directory runs/a; `unpool train` prints the path of each run at its end
    """
    asked = _Asked(Path(run), weights)
    known = read_gallery(Path(gallery), asked.model)
    limit = _threshold(threshold, known.threshold)
    files, problems = list_images(images)
    records = []
    for file, stem in zip(files, stems(files), strict=True):
        if file in problems:
            records.append({"image": printable(file), "error": problems[file]})
            continue
        try:
            matches = known.matches(asked.vector(file))[:MATCHES]
        except DataError as error:
            require_files(error)
            records.append({"image": printable(file), "error": str(error)})
            continue
        best = {"person": judged(matches, limit), "distance": matches[0].distance, "threshold": limit}
        listed = [match._asdict() for match in matches]
        records.append({"image": printable(file), **best, "matches": listed})
        if out is not None:
            _write(asked.sheet(file, best, matches, people=people), Path(out) / f"{stem}_view.jpg")
    if all("error" in record for record in records):
        raise DataError("no image can be answered:\n" + reasons({r["image"]: r["error"] for r in records}))
    return records


def verify(
    run: Path,
    first: str | Path,
    second: str | Path,
    *,
    out: Path | None = None,
    threshold: float | None = None,
    weights: str = "last",
) -> dict[str, Any]:
    """Says whether two photographs show one person.

    Args:
        run: directory of a run that learned embeddings.
        first: an aligned crop.
        second: another.
        out: file of a picture of both, ending in .jpg; None draws none.
        threshold: distance up to which they do; None takes that of training.
        weights: as in `enroll`.

    Returns:
        `same`, `distance` and `threshold`.

    Raises:
        RecipeError: no threshold was chosen in training and none is given, or `out` exists or is no .jpg.
        DataError: an image cannot be read.

    Example:
        >>> verify(Path("runs/orl_triplet-1"), "first.jpg", "second.jpg", out=Path("both.png"))
        Traceback (most recent call last):
        unpool.errors.RecipeError: the picture is both.png; expected a name that ends in .jpg
    """
    if out is not None and Path(out).suffix.lower() != ".jpg":
        raise RecipeError(f"the picture is {printable(out)}; expected a name that ends in .jpg")
    asked = _Asked(Path(run), weights)
    limit = _threshold(threshold, asked.threshold)
    both = [asked.vector(Path(path)) for path in (first, second)]
    distance = float(distances(both[0][None], both[1][None]))
    answer = {"same": distance <= limit, "distance": distance, "threshold": limit}
    if out is not None:
        words = f"{'one person' if answer['same'] else 'two people'}: {distance:.2f}, threshold {limit:.2f}"
        pictures = [asked.picture(Path(path)) for path in (first, second)]
        _write(draw_sheet([[(words, pictures[0]), (Path(second).name, pictures[1])]]), Path(out))
    return answer


class _Asked:
    """A run's network, which answers with vectors."""

    def __init__(self, run: Path, weights: str) -> None:
        if weights not in ("last", "best"):
            raise RecipeError(f"weights is {weights!r}; it must be last or best, of a run that learned embeddings")
        self.predictor: Predictor = load(run, weights)
        task = self.predictor.task
        if not isinstance(task, Vectors):
            raise RecipeError(f"{run} answers with no embedding: train a recipe such as lfw_arcface")
        self.threshold = task.chosen_threshold
        self.model = sum_of_model(run, weights)

    def vector(self, path: Path) -> Tensor:
        """(E,) float32 of length 1."""
        vector = torch.tensor(self.predictor(path)[0]["embedding"])
        if not vector.isfinite().all():
            raise ModelFileError(f"the network's embedding of {printable(path)} is not finite: train anew")
        if not vector.any():
            raise ModelFileError(
                f"the network's numbers for {printable(path)} are all 0, which is near nobody: train anew, "
                "at a lower rate"
            )
        return vector

    def picture(self, path: Path) -> Tensor:
        """(3, H, W) uint8."""
        return drawable(read_image(path, self.predictor.decoding)).expand(3, -1, -1)

    def sheet(self, file: Path, best: dict[str, Any], matches: Sequence[Match], *, people: Path | None) -> Tensor:
        """The photograph, and the nearest image of the best matches where their folder is known."""
        row = [(f"{best['person']}, {best['distance']:.2f} of {best['threshold']:.2f}", self.picture(file))]
        if people is not None:
            enrolled = [(match, Path(people) / match.file) for match in matches[:SHOWN]]
            row += [(f"{m.person} {m.distance:.2f}", self.picture(path)) for m, path in enrolled if path.is_file()]
        return draw_sheet([row])


def _threshold(asked: float | None, chosen: float | None) -> float:
    if asked is not None:
        if not 0 <= asked <= 2:
            raise RecipeError(f"the threshold is {asked}; expected a distance from 0 to 2")
        return asked
    if chosen is None:
        raise RecipeError(
            "no threshold was chosen in training, since its set held nobody back for that: give one, a distance from 0 "
            "to 2 (--threshold), or train with data.calibrating or data.strangers"
        )
    return chosen


def _write(picture: Tensor, path: Path) -> None:
    if path.exists():
        raise RecipeError(f"{printable(path)} exists already and is not replaced; choose another folder by -o")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(path, quality=_QUALITY)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {printable(path)}: {error.strerror}; choose another path") from error
