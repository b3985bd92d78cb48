"""What the views of a network share: arguments that say which network, and where the view is written."""

from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from unpool.cli.console import write_json, write_result, write_table
from unpool.cli.parser import Parser
from unpool.errors import quoted
from unpool.streams import write_message

if TYPE_CHECKING:
    from unpool.pages.view import View  # which imports torch

LARGEST_SIDE = 16_384


def add_source(verb: Parser) -> None:
    """Adds the network and its weights."""
    verb.add_argument("source", metavar="RUN|MODEL", help="a run directory, or a network's name")
    verb.add_argument(
        "--weights", metavar="NAME|FILE", help="of a run last (default) or best; of a network imagenet or a file"
    )


def add_size(verb: Parser, about: str = "size to which images are brought") -> None:
    """Adds the size of its images."""
    verb.add_argument("--size", nargs=2, type=side, metavar=("H", "W"), help=about)


def add_output(verb: Parser, name: str) -> None:
    """Adds `-o` and `--json`."""
    verb.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR|FILE",
        help=f"where to write {name}.png; or a file, .png, .jpg or .html",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def view_path(out: Path, stem: str) -> Path:
    """Returns the file for a view: `out` itself where it ends as a picture or a page does, else `out/stem.png`.

    Raises:
        RecipeError: the file exists; no file is ever replaced.
    """
    from unpool.predictor.files import picture_path

    suffix = out.suffix.lower()
    return picture_path(out, stem, suffix=suffix if suffix in (".png", ".jpg", ".jpeg", ".html") else ".png")


def finish(view: "View", path: Path, values: Namespace, rows: list[tuple[str, ...]]) -> int:
    """Writes the view, prints its numbers as JSON or as a table, then its path, and returns 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    view.save(path)
    for note in view.values["notes"]:
        write_message(f"warning: {note}")
    if values.json:
        write_json({**view.to_json(), "picture": str(path)})
    else:
        write_table(rows)
        write_result(str(path))
    return 0


def pair(sides: list[int] | None) -> tuple[int, int] | None:
    """Height and width, where they are set."""
    return None if sides is None else (sides[0], sides[1])


def side(text: str) -> int:
    """A number of pixels, from 1 on."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_SIDE:
        raise ArgumentTypeError(f"{quoted(text)} is no number of pixels from 1 to {LARGEST_SIDE}")
    return int(text)


def count(text: str) -> int:
    """A number of a unit or of things, from 0 on."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ArgumentTypeError(f"{quoted(text)} is no number from 0 on")
    return int(text)
