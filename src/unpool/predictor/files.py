"""Predictions on disk: a picture to look at and the raw result of each image, and one list of all."""

import json
import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from unpool.data.decode import Pixels, notes, read_pixels
from unpool.data.image_file import printable, probe
from unpool.data.range_of_set import range_of_files
from unpool.data.remarks import collected
from unpool.errors import DataError, EnvironmentFault, ModelFileError, RecipeError, is_out_of_memory, require_files
from unpool.ops.drawing import drawable
from unpool.pages.view import View
from unpool.predictor.asked import IMAGES, LIST, VIEW, list_images, reasons, require_pairs, stems
from unpool.predictor.ensemble import Ensemble
from unpool.predictor.images import joined
from unpool.predictor.predictor import Predictor
from unpool.predictor.table import as_csv

TABLE = "predictions.csv"
VIEW_SIDE = 2048  # pixels; larger pictures are thinned out for looking
_log = logging.getLogger(__name__)


def write_predictions(
    predictor: Predictor,
    images: Sequence[str | Path],
    out: Path,
    *,
    csv: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_answer: Callable[[dict[str, Any], str], None] = lambda record, brief: None,
) -> list[dict[str, Any]]:
    """Predicts each image and writes the predictions into `out`, one image in memory at a time.

    An image that cannot be read or does not exist, that is too large for the memory, or that the network cannot answer,
    and a folder without images are logged and listed with the error, and the others are answered. Ctrl-C leaves
    `predictions.json` of what was answered.

    For an image `x.jpg`: `x_view.jpg` to look at, and the raw files of the task (`Task.write`), such as `x_mask.png`.
    The record notes what of the file the network has not seen (other frames, alpha, depth) or what was read
    differently, and where it saw a photograph made smaller. Where the answer is an image itself, also that its
    colours are lost. `predictions.json` lists all; where the task's field has a format for that (`Task.results`), it is
    written in that, and `images.json` lists all. Images of equal stems get numbers: `x-2_view.jpg`.

    Args:
        predictor: what to ask.
        images: files, folders of them, or patterns; see `list_images`. Of a task on pairs, files: first and second in
            turn, and a pair's pictures and files have the name of its first one.
        out: made where it is missing; no file in it is ever replaced.
        csv: whether to write predictions.csv too, a row an image.
        progress: called with (images done, images in all), first with none done.
        on_answer: called with each record and its answer in a few words, which is empty where there is none.

    Returns:
        One record an image, in order: image, size_hw and the answer, or image and error.

    Raises:
        RecipeError: a file to be written exists already, or images are no pairs and the task is about pairs.
        DataError: no image can be answered.
        EnvironmentFault: `out` cannot be written.
    """
    out = Path(out)
    frames = predictor.task.frames
    require_pairs(images, frames, task=type(predictor.task).__name__)
    listed, problems = list_images(images)
    files = listed[::frames]
    seconds = [tuple(listed[i + 1 : i + frames]) for i in range(0, len(listed), frames)]
    names = stems(files)
    lists = [LIST, *([IMAGES] if predictor.task.results([]) else []), *([TABLE] if csv else [])]
    _refuse_existing(out, [*lists, *(f"{name}_{kind}" for name in names for kind in (*predictor.task.files, VIEW[1:]))])
    records: list[dict[str, Any]] = []
    predictor = _with_range(predictor, [path for path in listed if path not in problems])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, others, stem in zip(files, seconds, names, strict=True):
            progress(len(records), len(files))
            fails = [one for one in (path, *others) if one in problems]
            record = (
                _failed(path, problems[fails[0]])
                if fails
                else _predict_one(predictor, path, out, stem=stem, others=others)
            )
            records.append(record)
            on_answer(record, _brief(predictor, record))
        progress(len(records), len(files))
        if records and all("error" in record for record in records):
            raise DataError("no image can be answered:\n" + reasons({r["image"]: r["error"] for r in records}))
        _write_list(predictor, records, out, csv=csv)
    except KeyboardInterrupt as interrupt:
        _write_list(predictor, records, out, csv=csv)
        interrupt.add_note(
            f"{len(records)} of {len(files)} images were done; they are listed in {printable(out / LIST)}"
        )
        raise
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentFault(f"cannot write into {printable(out)}: {reason}; choose another folder") from error
    return records


def picture_path(out: Path, stem: str, *, suffix: str = ".png") -> Path:
    """Returns the path for one picture, or page: `out` itself if it ends in `suffix`, else `out/stem` with it.

    Raises:
        RecipeError: the file exists; no file is ever replaced.
    """
    path = out if out.suffix.lower() == suffix else out / f"{stem}{suffix}"
    if path.exists():
        raise RecipeError(f"{printable(path)} exists already and is not replaced; choose another path")
    return path


def save_view(view: View, out: Path, stem: str, *, suffix: str = ".html") -> Path:
    """Writes a view to `out` where that names a file, else to `out/stem` with the suffix; returns the path.

    Raises:
        RecipeError: the file exists, or the view cannot be saved as that.
        EnvironmentFault: the file or its folder cannot be written.
    """
    path = out if out.suffix else out / f"{stem}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {printable(path)}: {error.strerror}; choose another path") from error
    return view.save(path)


def write_page(page: str, path: Path) -> None:
    """Writes the HTML of a page and makes its folder if it is missing.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"cannot write {printable(path)}: {error.strerror}; choose another path") from error


def write_picture(picture: Tensor, path: Path) -> None:
    """Writes a (3, H, W) uint8 picture as a PNG and makes its folder if it is missing.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(path, "PNG")
    except OSError as error:
        raise EnvironmentFault(f"cannot write {printable(path)}: {error.strerror}; choose another path") from error


def _brief(predictor: Predictor, record: dict[str, Any]) -> str:
    return "" if "error" in record else predictor.task.brief(record)


def _write_list(predictor: Predictor, records: Sequence[dict[str, Any]], out: Path, *, csv: bool) -> None:
    results = predictor.task.results(records)
    listed = {"format": 1, "classes": list(predictor.info.classes), **_averaged_of(predictor)}
    if results is None:
        _write_json(out / LIST, listed | {"predictions": records})
    else:
        _write_json(out / LIST, results.content)
        _write_json(out / IMAGES, listed | {"predictions": results.records})
    if csv:
        table = as_csv(records, [_brief(predictor, record) for record in records])
        (out / TABLE).write_text(table, encoding="utf-8")


def _averaged_of(predictor: Predictor) -> dict[str, Any]:
    """What was averaged, as lists of predictions have it; empty for one network and one view."""
    return {"averaged": predictor.averaged} if isinstance(predictor, Ensemble) else {}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _predict_one(
    predictor: Predictor, path: Path, out: Path, *, stem: str, others: Sequence[Path] = ()
) -> dict[str, Any]:
    """The record of one image, or of a pair with `others`: its answer, or what kept it from one."""
    size = "the image"
    try:
        with collected() as remarks:
            pixels = read_pixels(path, predictor.decoding)
            if others:
                rest = [read_pixels(other, predictor.decoding).image for other in others]
                pixels = pixels._replace(image=joined([pixels.image, *rest]))
        size = f"an image of {pixels.image.shape[-1]}x{pixels.image.shape[-2]} pixels"
        record = _answer(predictor, path, pixels, out / stem, remarks=remarks)
        return record | ({"second": printable(others[0])} if others else {})
    except EnvironmentFault:
        raise
    except (DataError, ModelFileError) as error:
        require_files(error)
        reason = str(error)
    except (MemoryError, RuntimeError) as error:
        problem = "the memory is not enough for" if is_out_of_memory(error) else f"{error}: the network cannot answer"
        reason = f"{problem} {size}; make it smaller, or cut it into tiles"
    return _failed(path, reason)


def _failed(path: Path, reason: str) -> dict[str, Any]:
    """The record of an image that is not answered, which is logged too."""
    reason = reason if printable(path) in reason else f"{printable(path)}: {reason}"
    _log.warning("not answered: %s", reason)
    return {"image": printable(path), "error": reason}


def _answer(predictor: Predictor, path: Path, pixels: Pixels, stem: Path, *, remarks: Sequence[str]) -> dict[str, Any]:
    """Predicts a decoded image and writes its files `<stem>_<ending>`."""
    image, shade = pixels
    answer = predictor.predict(image)
    task, size_hw = predictor.task, image.shape[-2:]
    step = -(-max(size_hw) // VIEW_SIDE)
    view = task.draw(drawable(image[..., ::step, ::step]), task.thinned(answer, step))
    Image.fromarray(view.permute(1, 2, 0).contiguous().numpy()).save(stem.with_name(f"{stem.name}{VIEW}"), quality=92)
    written = {f"{stem.name}_{ending}" for ending in task.files}
    kept = {
        key: printable(value) if isinstance(value, str) and value in written else value
        for key, value in task.write(answer, stem).items()
    }
    texts = [*kept.pop("notes", ()), *_lost(path, predictor), *remarks]
    texts += [text for text in (shade.sentence, shade.doubt) if text] if shade else []
    has_notes = texts or task.is_image or task.points
    record: dict[str, Any] = {"image": printable(path), "size_hw": list(size_hw), **kept}
    return record | ({"notes": texts} if has_notes else {}) | {"view": printable(f"{stem.name}{VIEW}")}


def _with_range(predictor: Predictor, files: Sequence[Path]) -> Predictor:
    """The predictor; where its training set had no deep images, it reads those of `files` by one range of their own."""
    decoding = range_of_files(files, predictor.decoding)
    if decoding == predictor.decoding:
        return predictor
    changed = copy(predictor)
    changed.preprocessing = replace(predictor.preprocessing, set_range=decoding.set_range)
    return changed


def _lost(path: Path, predictor: Predictor) -> list[str]:
    """Sentences on what of the file the network has not seen, or what was read differently."""
    decoding = predictor.decoding
    header = probe(path, max_pixels=decoding.max_pixels)
    plain = header._replace(bits=8, kind="u")  # of what became of other values, `Shade` has the sentence
    sentences = list(notes(path.name, plain, decoding))
    if predictor.task.is_image and decoding.channels == 1 and not header.mode.startswith(("1", "I", "L")):
        sentences.append("colour image, reduced to grey, which is all that the network knows")
    return sentences


def _refuse_existing(out: Path, names: Sequence[str]) -> None:
    for name in names:
        if (out / name).exists():
            raise RecipeError(
                f"{printable(out / name)} exists already and is not replaced; choose another output folder"
            )
