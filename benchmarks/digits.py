"""Trains readers of strings of one to six of MNIST's digits on clutter: by CTC, and by one head for each position.

Each is trained by `unpool train` as a process of its own, with three seeds, on strings of the digits of MNIST's first
50,000 training images; whole strings right, lengths right and edits for each character are measured on 2,000 strings of
MNIST's test images, with the last weights. Strings that are read by CTC are decoded by their likeliest path and by beam
search. A call goes on where the one before was stopped.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import unpool
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, shown, trained
from unpool.data.readers.digit_strings import DigitStrings
from unpool.metrics.strings import StringScores

RECIPES = {"digits_ctc": "CTC", "digits_positions": "one head a position"}
DECODINGS = {"digits_ctc": {"likeliest path": 1, "beam of 10": 10}, "digits_positions": {"likeliest characters": 1}}
MARKS = {"digits_ctc": "mark 95 %, aim 97.5 %"}
SEEDS, STRINGS = 3, 2000
METRICS = ("exact", "length_right", "character_error", "edit_distance")


def measured(ended: Ended, beam: int, data: Path, strings: int) -> dict[str, float]:
    """Scores on strings of MNIST's test images with a width of the search; kept beside the run."""
    kept = ended.run / f"test-{strings}-beam-{beam}.json"
    weights = (ended.run / "model.safetensors").stat().st_mtime_ns
    if kept.is_file():
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before.pop("weights") == weights:
            return before
    asked, scores = unpool.load(ended.run), StringScores()
    asked.task.beam = beam
    options = {**unpool.load_recipe(ended.run / "recipe.yaml").data.options, "count": strings}
    reader = DigitStrings(data, "test", **options)
    for i in range(len(reader)):
        sample = reader[i]
        read = torch.tensor([int(digit) for digit in asked.predict(sample["image"])["text"]])
        scores.update({"text": [read]}, {"text": [sample["text"]]})
    found = scores.compute()
    kept.write_text(json.dumps({**found, "weights": weights}), encoding="utf-8")
    return found


def row(recipe: str, decoding: str, scores: Sequence[dict[str, float]], runs: Sequence[Ended]) -> Row:
    values = {metric: [one[metric] for one in scores] for metric in METRICS}
    seconds = [run.metrics["training"]["time_s"] / 60 for run in runs if run.metrics is not None]
    figure = (
        f"whole strings right {shown(values['exact'])}, lengths right {shown(values['length_right'])}, edits for each "
        f"character {shown(values['character_error'])} (training {shown(seconds, factor=1, digits=1, unit=' min')})"
    )
    what = f"strings of 1 to 6 digits on clutter, MNIST's test images, {RECIPES[recipe]}, {decoding}, {len(runs)} seeds"
    return Row(what=what, figure=figure, reference=MARKS.get(recipe, ""))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.digits", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "mnist")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "digits", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--strings", type=int, default=STRINGS, help="of the test images that are read")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every training")
    options = parser.parse_args(arguments)
    data, runs = options.data.absolute(), options.runs.absolute()
    is_whole = (
        options.only == list(RECIPES) and options.seeds == SEEDS and not options.set and options.strings == STRINGS
    )
    rows, details, spent_s = [], {}, 0.0
    for recipe in options.only:
        every = [trained(recipe, options.set, root=data, runs=runs, seed=seed) for seed in range(options.seeds)]
        ended = [run for run in every if run.metrics is not None]
        spent_s += sum(run.metrics["training"]["time_s"] for run in ended if run.metrics is not None)
        for decoding, beam in DECODINGS[recipe].items():
            scores = [measured(run, beam, data, options.strings) for run in ended]
            rows.append(row(recipe, decoding, scores, ended))
            print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
            details[f"{recipe}, {decoding}"] = {metric: [one[metric] for one in scores] for metric in METRICS}
        result = (RESULTS if is_whole else runs) / "digits.json"
        command = "python -m benchmarks.digits --data DATA"
        write_result(result, rows, command=command, seed=None, wall_s=spent_s, details=details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
