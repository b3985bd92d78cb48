"""`unpool predict`: writes pictures of the predictions and raw results, at the size of the input."""

from argparse import Namespace
from collections import Counter
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, log_to_stderr, write_message, write_result
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.errors import DataError, RecipeError

ABOUT = "predict on images with the network of a run, or a published one"
EXAMPLES = """examples: unpool predict runs/camvid_unet-1 street.jpg -o out
          unpool predict resnet50 photo.jpg --weights imagenet -o out"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("predict", ABOUT, details=EXAMPLES)
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory, or a network's name")
    verb.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    verb.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where to write the results")
    verb.add_argument(
        "--weights",
        choices=["last", "best", "imagenet", "voc", "efficientnet_lite0"],
        default="last",
        help="of a run: last (default) or best in validation; of a network: imagenet or voc, downloaded once, "
        "or efficientnet_lite0, of an installed package",
    )
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
    """Writes the predictions, prints their folder and returns 0; `DataError.exit_code` if an image failed."""
    prepare(from_shell=values.from_shell)
    from unpool.run import predict

    with library_output_to_stderr(), log_to_stderr():
        records = predict(
            values.run,
            values.images,
            values.out,
            weights=values.weights,
            black_white=_range(values.range),
            max_pixels=_most(values.max_pixels),
        )
    for note, count in Counter(note for record in records for note in record.get("notes", ())).items():
        write_message(f"warning: {note} ({count} of {len(records)} images)")
    failed = sum("error" in record for record in records)
    if failed:
        write_message(f"error: {failed} of {len(records)} images not answered; predictions.json has the reason of each")
    write_result(str(values.out))
    return DataError.exit_code if failed else 0


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
