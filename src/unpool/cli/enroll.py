"""`unpool enroll`: writes a gallery of the people in a folder."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import is_terminal, library_output_to_stderr, write_json, write_result
from unpool.cli.early import start_answering
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.data.root import require_root
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "write a gallery of people: their embeddings and names"
DETAILS = """PEOPLE has a folder for each person: PEOPLE/<name>/*.jpg. Images are to be
crops of faces, aligned as those of training were: no face is looked for.
The gallery belongs to the weights of this run; any other is refused.
example: unpool enroll runs/lfw_arcface-1 people/ -o gallery"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("enroll", ABOUT, details=DETAILS)
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    verb.add_argument("people", type=Path, metavar="PEOPLE", help="a folder with a folder for each person")
    verb.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="folder of the gallery, made anew")
    add_weights(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def add_weights(verb: Parser) -> None:
    """Adds `--weights`."""
    verb.add_argument(
        "--weights", choices=["last", "best"], default="last", help="of the run: last (default) or best in validation"
    )


def run(values: Namespace) -> int:
    """Writes the gallery, prints what is in it, and returns 0."""
    require_root(values.people)
    if values.from_shell:
        start_answering("enrolling with", values.run, is_published=False)
    prepare(from_shell=values.from_shell)
    from unpool.predictor.people import enroll

    bar = ReadingBar("enrolling", only_line=is_terminal())
    with library_output_to_stderr(), log_to_stderr(), bar as progress:
        answer = enroll(values.run, values.people, values.out, weights=values.weights, progress=progress)
    if values.json:
        write_json(answer)
        return 0
    known = "no threshold" if answer["threshold"] is None else f"threshold {answer['threshold']:.3f}"
    write_result(f"{answer['gallery']}  {answer['people']} people, {answer['images']} images, {known}")
    return 0
