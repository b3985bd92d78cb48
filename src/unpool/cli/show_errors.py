"""`unpool show errors`: where a run's network errs, by class, by size, by kind and by how sure it was."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_run
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "where a run's network errs: by class, size, kind, and how sure"
EXAMPLES = """Scores by class and by size, the most frequent confusions, and how often answers of each probability are
right. With -o also a page, with the worst and the most confident mistakes among 200 images as pictures.
Of a detector also the kinds of its mistakes: class: right place, wrong class. place: right class, overlap of 0.1 to
0.5. both: neither. twice: a thing that a better box has. background: nothing is there. missed: no box for a thing.
Beside each kind: how many there are, and the AP at IoU 0.5 that would be gained without them (TIDE, arXiv:2008.08115).
examples: unpool show errors runs/camvid_unet-1 -o errors.html
          unpool show errors runs/bccd_fasterrcnn-1 data.root=DIR --split test --json"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show errors", ABOUT, details=EXAMPLES)
    add_run(verb)
    add_output(verb, "where to write RUN_errors.html, or a .html, too", out=None)
    return verb


def run(values: Namespace) -> int:
    """Measures the run, prints where it errs, writes the page where one is asked for, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.error_view import error_tables, show_errors
    from unpool.model_file import read_config
    from unpool.predictor.files import picture_path
    from unpool.run_directory import CONFIG, RunDirectory

    directory = RunDirectory.open(values.run)
    stem = f"{values.run.absolute().name}_errors"
    path = None if values.out is None else picture_path(values.out, stem, suffix=".html")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        view = show_errors(
            directory.path,
            values.overrides,
            split=values.split,
            weights=values.weights,
            pictures=path is not None,
            progress=progress,
        )
        page = {} if path is None else {"page": str(view.save(path))}
    if values.json:
        write_json({**view.to_json(), **page})
        return 0
    for number, rows in enumerate(error_tables(view.values, read_config(directory / CONFIG).task.described)):
        if number:
            write_result("")
        write_table(rows)
    for name in page.values():
        write_result(name)
    return 0
