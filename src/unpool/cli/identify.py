"""`unpool identify`: names the people of photographs, among those of a gallery."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.early import start_answering
from unpool.cli.enroll import add_weights
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.errors import DataError
from unpool.screen import log_to_stderr
from unpool.streams import write_message

ABOUT = "name the people of photographs, among those of a gallery"
DETAILS = """Prints a line for each image: its path, the nearest person or "unknown",
and the distances of the nearest people. Images are to be crops aligned as
those of training were.
example: unpool identify runs/lfw_arcface-1 gallery photo.jpg -o pictures"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("identify", ABOUT, details=DETAILS)
    verb.add_argument("run", type=Path, metavar="RUN", help="the run that enrolled the gallery")
    verb.add_argument("gallery", type=Path, metavar="GALLERY", help="the folder that enroll wrote")
    verb.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, folders, or patterns in quotes")
    verb.add_argument("-o", "--out", type=Path, metavar="DIR", help="draw each image with its best matches into DIR")
    verb.add_argument("--people", type=Path, metavar="DIR", help="the enrolled folder, whose images are drawn beside")
    add_threshold(verb)
    add_weights(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def add_threshold(verb: Parser) -> None:
    """Adds `--threshold`."""
    verb.add_argument(
        "--threshold",
        type=float,
        metavar="D",
        help="distance, 0 to 2, up to which two images show one person; by default that which training chose",
    )


def run(values: Namespace) -> int:
    """Prints a line for each image and returns 0; `DataError.exit_code` if one could not be answered."""
    if values.from_shell:
        start_answering("identifying with", values.run, is_published=False, images=values.images)
    prepare(from_shell=values.from_shell)
    from unpool.predictor.people import identify

    with library_output_to_stderr(), log_to_stderr():
        records = identify(
            values.run,
            values.gallery,
            values.images,
            out=values.out,
            people=values.people,
            threshold=values.threshold,
            weights=values.weights,
        )
    if values.json:
        write_json({"images": records})
    else:
        for record in records:
            write_result(_line(record))
    failed = [record for record in records if "error" in record]
    for record in failed:
        write_message(f"error: {record['image']}: {record['error']}")
    return DataError.exit_code if failed else 0


def _line(record: dict[str, Any]) -> str:
    if "error" in record:
        return f"{record['image']}  not answered"
    nearest = ", ".join(f"{match['person']} {match['distance']:.3f}" for match in record["matches"])
    return f"{record['image']}  {record['person']}  (threshold {record['threshold']:.3f}; nearest: {nearest})"
