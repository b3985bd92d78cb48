"""`unpool predict`: a line for each image; pictures of the predictions and raw results, at the size of the input."""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

from unpool.cli.console import (
    is_terminal,
    library_output_to_stderr,
    result_writer,
)
from unpool.cli.early import start_answering
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser, add_views
from unpool.errors import DataError, RecipeError
from unpool.screen import ReadingBar, log_to_stderr
from unpool.streams import write_message

ABOUT = "predict on images with the network of a run, or a published one"
EXAMPLES = """Prints a line for each image: its path and the answer; writes predictions.json,
pictures and raw results.
Runs named before the first image, folders with a config.json, are averaged.
examples: unpool predict runs/camvid_unet-1 street.jpg more/ -o out
          unpool predict runs/folder_resnet18-1 'photos/*.jpg' --csv
          unpool predict runs/unet-1 runs/unet-2 street.jpg --tta flip
          unpool predict resnet50 photo.jpg --weights imagenet"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("predict", ABOUT, details=EXAMPLES)
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory, or a network's name")
    verb.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="further runs, then files, folders, patterns in quotes"
    )
    verb.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="for the results; by default RUN/predictions, or ./predictions"
    )
    verb.add_argument("--csv", action="store_true", help="write predictions.csv too, a row for each image")
    verb.add_argument(
        "--weights",
        choices=["last", "best", "imagenet", "voc", "coco", "efficientnet_lite0"],
        metavar="NAME",
        default="last",
        help="of a run: last (default) or best in validation; of a network: imagenet, voc or coco, downloaded, "
        "or efficientnet_lite0, of an installed package",
    )
    add_views(verb)
    verb.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("BLACK", "WHITE"),
        help="values that are black and white in images of more than 8 bits; by default those of training",
    )
    verb.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="pixels above which an image is refused, of 10 to 30 bytes of memory each; by default 100 million",
    )
    return verb


def run(values: Namespace) -> int:
    """Writes the predictions, prints a line for each and returns 0; `DataError.exit_code` if an image failed."""
    black_white = _range(values.range)
    runs, images = _separated(values)
    if values.from_shell:
        published = values.weights not in ("last", "best")
        for one in runs:
            start_answering("predicting with", one, is_published=published, images=images)
    prepare(from_shell=values.from_shell)
    from unpool.run import default_output, predict

    out = values.out or default_output(values.run, values.weights)
    answered = _line_writer(result_writer())
    bar = ReadingBar("predicting", only_line=is_terminal())
    with library_output_to_stderr(), log_to_stderr(), bar as progress:
        records = predict(
            runs,
            images,
            out,
            weights=values.weights,
            black_white=black_white,
            max_pixels=_most(values.max_pixels),
            csv=values.csv,
            tta=values.tta,
            progress=progress,
            on_answer=answered,
        )
    for note, count in Counter(note for record in records for note in record.get("notes", ())).items():
        write_message(f"warning: {note} ({count} of {len(records)} images)")
    failed = sum("error" in record for record in records)
    if failed:
        write_message(f"error: {failed} of {len(records)} images not answered; predictions.json has the reason of each")
    written = "pictures, predictions.json and predictions.csv" if values.csv else "pictures and predictions.json"
    write_message(f"{written} are in {out}")
    return DataError.exit_code if failed else 0


def _separated(values: Namespace) -> tuple[list[Path], list[Path]]:
    """The runs and the images among the words: a folder with config.json, before any image, is a run.

    Raises:
        RecipeError: there are runs only.
    """
    words = values.images
    further = len(list(takewhile(lambda word: (word / "config.json").is_file(), words)))
    if further == len(words):
        raise RecipeError(f"{words[-1]} is a run and no image follows it: name images behind the runs")
    return [values.run, *words[:further]], words[further:]


def _line_writer(write: Callable[[str], None]) -> Callable[[dict[str, Any], str], None]:
    """What writes the line of a record: the image, and the answer in a few words, or the name of its picture."""

    def answered(record: dict[str, Any], brief: str) -> None:
        answer = "not answered" if "error" in record else brief or record["view"]
        write(f"{record['image']}  {answer}")

    return answered


def _most(pixels: int | None) -> int:
    if pixels is not None and pixels < 1:
        raise RecipeError(f"--max-pixels is {pixels}; expected a number of pixels, 1 at least")
    from unpool.types import MOST_PIXELS

    return pixels or MOST_PIXELS


def _range(ends: list[float] | None) -> tuple[float, float] | None:
    if ends is None:
        return None
    if not ends[0] < ends[1]:
        raise RecipeError(f"--range is {ends[0]:g} {ends[1]:g}; expected two numbers, the lower one first")
    return ends[0], ends[1]
