"""How many of the wrong labels that are planted `unpool check` lists, and how many that it lists are wrong.

A share of the training labels of MNIST and of CIFAR-10, as its JPEG files have it, is changed to another class, all
others being as likely, by a seed. The check of the recipe is made whole, of MNIST in its default time, of CIFAR-10 in
30 minutes; recall counts the wrong labels among the samples that it searched. Beside it stands cleanlab (--cleanlab, a
Python that has it), which gets the same answers from outside as probabilities: by ridge regression scores are turned
into these by a softmax whose temperature fits the labels best. A call goes on where the one before was stopped;
the answers are kept beside, for whoever wants to judge them by another rule.
"""

import argparse
import gzip
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.record import RESULTS, Row, write_result
from unpool.checks.budget import Budget
from unpool.checks.findings import Finding
from unpool.checks.label_scores import LabelScores
from unpool.checks.looking import look
from unpool.checks.suspects import Suspects, margins_of, suspects_of
from unpool.data.readers.cifar import Cifar
from unpool.data.readers.mnist import read_idx
from unpool.data.readers.splits import Split
from unpool.data.seeding import shared_restored
from unpool.plain_objects import setup_of
from unpool.recipe import load_recipe

SHARES = (0.02, 0.05, 0.1, 0.0)
CLASSES, SEED = 10, 0
_CLEANLAB = """
import json, sys
import cleanlab, numpy
from cleanlab.filter import find_label_issues
made = numpy.load(sys.argv[1])
listed = {rule: find_label_issues(made["labels"], made["probabilities"], filter_by=rule, n_jobs=1).nonzero()[0].tolist()
          for rule in ("prune_by_noise_rate", "confident_learning", "both")}
print(json.dumps({"version": cleanlab.__version__, "listed": listed}))
"""


class Planted(NamedTuple):
    """A set with wrong labels: its folder, and by training sample whether the label was changed."""

    root: Path
    is_wrong: Tensor


def noisy(labels: NDArray[np.uint8], share: float) -> tuple[NDArray[np.uint8], Tensor]:
    """Labels of which a share is another class, and which these are."""
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(labels), round(share * len(labels)), replace=False)
    changed = labels.copy()
    changed[chosen] = (changed[chosen] + rng.integers(1, CLASSES, len(chosen))) % CLASSES
    return changed, torch.from_numpy(changed != labels)


def mnist(data: Path, share: float, folder: Path) -> Planted:
    """The IDX files, those of the training labels written anew."""
    for path in (data / "mnist").glob("*.gz"):
        shutil.copyfile(path, folder / path.name)
    path = folder / "train-labels-idx1-ubyte.gz"
    labels, is_wrong = noisy(read_idx(path, axes=1).numpy(), share)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + len(labels).to_bytes(4, "big") + labels.tobytes()))
    return Planted(folder, is_wrong)


def cifar(data: Path, share: float, folder: Path) -> Planted:
    """The decoded JPEG files as binary batches, in the order of the archives."""
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir()
    shutil.copyfile(data / "cifar10_jpeg" / "batches.meta.txt", batches / "batches.meta.txt")
    is_wrong = torch.zeros(0)
    written: dict[Split, list[str]] = {"val": ["test_batch"], "train": [f"data_batch_{one}" for one in range(1, 6)]}
    for split, names in written.items():
        reader = Cifar(data / "cifar10_jpeg", split)
        samples = [reader[i] for i in range(len(reader))]
        labels = np.array([int(sample["label"]) for sample in samples], np.uint8)
        labels, is_wrong = noisy(labels, share if split == "train" else 0.0)
        records = [bytes([label]) + sample["image"].numpy().tobytes()
                   for label, sample in zip(labels.tolist(), samples, strict=True)]  # fmt: skip
        each = len(records) // len(names)
        for number, name in enumerate(names):
            (batches / f"{name}.bin").write_bytes(b"".join(records[number * each : (number + 1) * each]))
    return Planted(folder, is_wrong)


class Noise(NamedTuple):
    """One set: its name, how it is written with wrong labels, its recipe, and the minutes of the check."""

    name: str
    plant: Callable[[Path, float, Path], Planted]
    recipe: str
    minutes: float


SETS = (Noise("MNIST", mnist, "mnist_convnet", 2.0), Noise("CIFAR-10 (jpeg)", cifar, "cifar10_resnet20", 30.0))


def path_of(noise: Noise, share: float, runs: Path) -> Path:
    """Where what was measured is kept."""
    return runs / f"{noise.recipe}-{share:g}.json"


def measured(noise: Noise, share: float, options: argparse.Namespace) -> dict[str, Any]:
    """What is listed of one set with so many wrong labels, from the file of an earlier call where there is one."""
    path = path_of(noise, share, options.runs)
    if not path.is_file():
        with tempfile.TemporaryDirectory(dir=options.runs) as folder:
            result = searched(noise, share, options, Path(folder))
        path.write_text(json.dumps(result), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def searched(noise: Noise, share: float, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Checks the run as `unpool.check(recipe)` does, and keeps what it knows of the labels."""
    planted = noise.plant(options.data, share, folder)
    start = time.perf_counter()
    with shared_restored():
        budget = Budget(noise.minutes)
        setup = setup_of(load_recipe(noise.recipe, {"data.root": str(planted.root)}), budget=budget)
        report = look(setup, noise.name)
    seconds = time.perf_counter() - start
    (finding,) = next(one.findings for one in report.results if "data.label_noise" in one.check.causes)
    judged = setup.label_scores
    if judged is None:
        raise RuntimeError(f"{noise.name} was not searched: {finding.about}")
    is_wrong = planted.is_wrong[torch.tensor(judged.seen.indices[: len(judged.labels)])]
    suspects = suspects_of(judged.scores, judged.labels, judged.val_scores, judged.val_labels)
    compare_lists(finding, judged, suspects)
    np.savez(
        options.runs / f"{noise.recipe}-{share:g}.npz",
        labels=judged.labels.numpy(),
        scores=judged.scores.numpy(),
        is_wrong=is_wrong.numpy(),
        val_labels=judged.val_labels.numpy(),
        val_scores=judged.val_scores.numpy(),
    )
    return {
        "about": finding.about,
        "verdict": finding.verdict,
        "others": sorted({one.cause for one in report.wrong} - {"data.label_noise"}),
        "searched": len(judged.labels),
        "samples": len(setup.train),
        "wrong": int(is_wrong.sum()),
        "estimated": suspects.wrong,
        "expected": {"recall": suspects.recall, "precision": suspects.precision},
        "right": dict(zip(("train", "val"), judged.right, strict=True)),
        "ours": judged_list(suspects.listed, is_wrong),
        **beside(judged, is_wrong, options.cleanlab, folder),
        "seconds": seconds,
        "noise_seconds": judged.seconds,
    }


def compare_lists(finding: Finding, judged: LabelScores, suspects: Suspects) -> None:
    """The list that is judged is that of the report, where there is one."""
    listed = [f"{judged.seen.where(i)}: " for i in suspects.listed.tolist()]
    lines = finding.evidence
    if lines and not (len(lines) == len(listed) and all(map(str.startswith, lines, listed))):
        raise RuntimeError("the report lists other samples than those that are judged")


def judged_list(listed: Tensor, is_wrong: Tensor) -> dict[str, Any]:
    """How many are listed, and recall and precision of that; None of no labels."""
    hits = int(is_wrong[listed].sum())
    wrong = int(is_wrong.sum())
    return {
        "listed": len(listed),
        "recall": hits / wrong if wrong else None,
        "precision": hits / len(listed) if len(listed) else None,
    }


def beside(judged: LabelScores, is_wrong: Tensor, python: Path, folder: Path) -> dict[str, Any]:
    """Cleanlab's lists of the same answers, our rule on these as probabilities, and as many of ours as it lists."""
    chances, val_chances = judged.scores, judged.val_scores
    if not is_probability(chances):
        warmth = temperature(chances, judged.labels)
        chances, val_chances = ((warmth * one).softmax(1) for one in (chances, val_chances))
    chances = chances.double() / chances.double().sum(1, keepdim=True)
    path = folder / "answers.npz"
    np.savez(path, probabilities=chances.numpy(), labels=judged.labels.numpy())
    done = subprocess.run([python, "-c", _CLEANLAB, path], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    same = suspects_of(chances, judged.labels, val_chances.double(), judged.val_labels)
    theirs = {rule: torch.tensor(listed, dtype=torch.long) for rule, listed in answer["listed"].items()}
    order = margins_of(judged.scores, judged.labels).argsort(descending=True, stable=True)
    return {
        "cleanlab_version": answer["version"],
        "cleanlab": {rule: judged_list(listed, is_wrong) for rule, listed in theirs.items()},
        "ours_on_probabilities": judged_list(same.listed, is_wrong),
        "ours_as_many": judged_list(order[: len(theirs["prune_by_noise_rate"])], is_wrong),
    }


def is_probability(scores: Tensor) -> bool:
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-3).all())


def temperature(scores: Tensor, labels: Tensor) -> float:
    """The power of 2 by which scores explain the labels best, as a softmax."""
    return min((2.0**power for power in range(-2, 9)), key=lambda one: float(F.cross_entropy(one * scores, labels)))


def row_of(noise: Noise, measured: Mapping[float, dict[str, Any]]) -> Row:
    """The line of one set: every share, in short."""
    searched = sorted(one["searched"] for one in measured.values())
    version = next(iter(measured.values()))["cleanlab_version"]
    what = (
        f"{noise.name}, labels planted wrong, check of {noise.minutes:g} min: recall and precision of its list, of "
        f"{searched[0]:,} to {searched[-1]:,} labels searched"
    )
    theirs = "; ".join(
        f"{share:.0%}: {shown(one['cleanlab']['prune_by_noise_rate'])}" for share, one in measured.items()
    )
    return Row(
        what=what,
        figure="; ".join(f"{share:.0%}: {_about(one)}" for share, one in measured.items()),
        reference=f"cleanlab {version} on the same answers: {theirs}",
    )


def _about(one: dict[str, Any]) -> str:
    """Where the check is silent there is no list in its report."""
    if one["verdict"] != "warn":
        return "no warning"
    learner = f"{one['right']['val']:.0%} of validation answered right"
    return f"{shown(one['ours'])}, {one['estimated']:.1%} estimated, {learner}"


def shown(one: dict[str, Any]) -> str:
    if one["recall"] is None or one["precision"] is None:
        return f"{one['listed']:,} listed"
    return f"{one['recall']:.1%} and {one['precision']:.1%} ({one['listed']:,} listed)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--runs", type=Path, required=True, help="where what was measured is kept")
    parser.add_argument(
        "--cleanlab", type=Path, required=True, metavar="PYTHON", help="an interpreter that has cleanlab"
    )
    parser.add_argument("--only", nargs="+", choices=[one.recipe for one in SETS], default=[one.recipe for one in SETS])
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of wrong labels (default %(default)s)")
    parser.add_argument("--as-is", action="store_true", help="measure nothing more; write what stands in RUNS")
    parser.add_argument("--json", type=Path, default=RESULTS / "label_noise.json")
    options = parser.parse_args(arguments)
    options.runs.mkdir(parents=True, exist_ok=True)
    pairs = [(noise, share) for noise in SETS if noise.recipe in options.only for share in options.shares]
    if options.as_is:
        pairs = [one for one in pairs if path_of(*one, options.runs).is_file()]
    results = [(*one, measured(*one, options)) for one in pairs]
    by_set = {noise: {share: result for one, share, result in results if one is noise} for noise, *_ in results}
    write_result(
        options.json,
        [row_of(*one) for one in by_set.items()],
        command="python -m benchmarks.label_noise --data DATA --runs RUNS --cleanlab PYTHON",
        seed=SEED,
        wall_s=sum(result["seconds"] for *_, result in results),
        details={f"{noise.recipe}, {share:g}": result for noise, share, result in results},
    )


if __name__ == "__main__":
    main()
