"""`unpool verify`: says whether two photographs show one person."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.early import start_answering
from unpool.cli.enroll import add_weights
from unpool.cli.environment import prepare
from unpool.cli.identify import add_threshold
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr

ABOUT = "say whether two photographs show one person"
DETAILS = """Images are to be crops of faces, aligned as those of training were.
example: unpool verify runs/lfw_arcface-1 a.jpg b.jpg"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("verify", ABOUT, details=DETAILS)
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    verb.add_argument("first", type=Path, metavar="IMAGE", help="a photograph")
    verb.add_argument("second", type=Path, metavar="IMAGE", help="another")
    verb.add_argument("-o", "--out", type=Path, metavar="FILE", help="draw both into a .jpg")
    add_threshold(verb)
    add_weights(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the answer and returns 0, whatever it is."""
    if values.from_shell:
        start_answering("verifying with", values.run, is_published=False, images=[values.first, values.second])
    prepare(from_shell=values.from_shell)
    from unpool.predictor.people import verify

    with library_output_to_stderr(), log_to_stderr():
        answer = verify(
            values.run,
            values.first,
            values.second,
            out=values.out,
            threshold=values.threshold,
            weights=values.weights,
        )
    if values.json:
        write_json(answer)
        return 0
    words = "one person" if answer["same"] else "two people"
    write_result(f"{words}  distance {answer['distance']:.3f}, threshold {answer['threshold']:.3f}")
    return 0
