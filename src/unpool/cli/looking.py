"""What the views share: arguments that say of what, and where the view is written; and what is printed at the end."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def add_recipe(verb: Parser) -> None:
    """Adds the recipe and its overrides."""
    verb.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a file")
    _add_overrides(verb)


def add_run(verb: Parser) -> None:
    """Adds the run, overrides of its recipe, and which images and weights of it are meant."""
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    _add_overrides(verb)
    verb.add_argument("--split", choices=("train", "val", "test"), default="val", help="by default val")
    add_run_weights(verb)


def add_run_weights(verb: Parser) -> None:
    """Adds which weights of a run are meant."""
    verb.add_argument("--weights", choices=["last", "best"], default="last", help="by default last")


def add_output(verb: Parser, about: str, *, out: Path | None = Path(), metavar: str = "DIR|FILE") -> None:
    """Adds `-o` and `--json`.

    Args:
        verb: gets them.
        about: says where the view is written.
        out: stands for no `-o`.
        metavar: what may follow `-o`.
    """
    verb.add_argument("-o", "--out", type=Path, default=out, metavar=metavar, help=about)
    add_json(verb)


def add_json(verb: Parser) -> None:
    """Adds `--json`."""
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def view_path(out: Path, stem: str) -> Path:
    """Returns the file for a view: `out` itself where it ends as a picture or a page does, else `out/stem.png`.

    Raises:
        RecipeError: the file exists; no file is ever replaced.
    """
    from unpool.predictor.files import picture_path

    suffix = out.suffix.lower()
    return picture_path(out, stem, suffix=suffix if suffix in (".png", ".jpg", ".jpeg", ".html") else ".png")


def finish_view(view: "View", path: Path, values: Namespace, rows: list[tuple[str, ...]]) -> int:
    """Writes the view, then as `finish`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    view.save(path)
    return finish(values, view.to_json(), path, rows, notes=view.values["notes"])


def finish(
    values: Namespace,
    numbers: Mapping[str, Any],
    path: Path,
    rows: Sequence[Sequence[str]] = (),
    *,
    kind: str = "picture",
    notes: Sequence[str] = (),
) -> int:
    """Prints notes as warnings, then the numbers as JSON or the rows as a table, then the path; returns 0.

    Args:
        values: arguments of the command line.
        numbers: of the view.
        path: where it was written.
        rows: of the table.
        kind: what the path is of, its key in JSON.
        notes: one sentence each.
    """
    for note in notes:
        write_message(f"warning: {note}")
    if values.json:
        write_json({**numbers, kind: str(path)})
        return 0
    if rows:
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


def _add_overrides(verb: Parser) -> None:
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="such as data.root=DIR")
