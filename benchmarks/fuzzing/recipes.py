"""Mutated recipes: accepted, or refused in one sentence; some of the accepted ones are trained for a few steps."""

import json
import math
import random
import shutil
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.fuzzing import mutations, recipe_text
from benchmarks.fuzzing.verdict import ACCEPTED, REFUSED, Verdict, answer, fault_of
from tests.tiny_recipes import SMALL, smaller, tree_of
from tests.tiny_trees import WRITERS, write_tree
from unpool import run
from unpool.data.readers import READERS
from unpool.errors import Stopped
from unpool.recipe import Recipe, dump_recipe, load_recipe, recipe_names, recipe_path
from unpool.recipe.yaml_text import read_yaml
from unpool.training.callbacks import Callback
from unpool.training.job import Job, StepRecord

TRAINED = 0.35  # share of the accepted recipes
STEPS = 4
MOST_WORKERS = 2


class Enough(Callback):
    """Ends a run that is longer than a few steps, as a signal would."""

    def after_step(self, job: Job, record: StepRecord) -> None:
        if job.counters.step >= STEPS:
            raise Stopped("stopped by the fuzzer after a few steps", 15)


class Recipes:
    """Cases by number; `work` holds tiny data sets, one a reader."""

    limit_s = 100.0

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self.texts = {name: recipe_path(name).read_text(encoding="utf-8") for name in recipe_names()}
        self.bases = {name: load_recipe(name) for name in self.texts}

    def case(self, number: int) -> Verdict:
        rng = random.Random(f"recipes {self.seed} {number}")
        name = rng.choice([*self.texts])
        path, given = self.work / "recipe.yaml", []
        form = rng.choice(("tree", "tree", "tree", "text", "overrides"))
        where = form
        if form == "tree":
            tree, where = mutations.changed_tree(read_yaml(self.texts[name], where=name), rng)
            path.write_text(mutations.as_text(tree), encoding="utf-8")
        elif form == "text":
            path.write_bytes(recipe_text.changed_text(self.texts[name], rng))
        else:
            given = recipe_text.overrides(rng)
            path.write_text(self.texts[name], encoding="utf-8")
        loaded = answer(lambda: load_recipe(path, given))
        shown = f"{name}, {where}: {given or path.read_bytes()[:3000]!r}"
        if fault := fault_of(loaded):
            return Verdict(fault[0], where, f"{fault[1]}\n{shown}")
        if loaded.code:
            return Verdict(REFUSED, where)
        if load_recipe(_written(loaded.value, path)) != loaded.value:
            return Verdict("silently other", where, f"written and read again it is another recipe\n{shown}")
        if rng.random() < TRAINED:
            return self._train(loaded.value, self.bases[name], where=where, shown=shown)
        return Verdict(ACCEPTED, where)

    def _train(self, recipe: Recipe, base: Recipe, *, where: str, shown: str) -> Verdict:
        """Trains it with everything small that the mutation left as it was."""
        small = {key: value for key, value in self._small(recipe).items() if _at(recipe, key) == _at(base, key)}
        if recipe.data.workers != "auto":  # no case may start processes or threads without end
            small["data.workers"] = recipe.data.workers % (MOST_WORKERS + 1)
        if recipe.train.threads != "auto":
            small["train.threads"] = 1 + recipe.train.threads % MOST_WORKERS
        directory = self.work / "trained"
        shutil.rmtree(directory, ignore_errors=True)
        trained = answer(lambda: run.train(recipe, small, run=directory, callbacks=[Enough()]))
        fault = fault_of(trained) or not_finite(directory, trained.said, is_done=trained.code in (0, 143))
        if fault:
            return Verdict(fault[0], f"trained, {where}", f"{fault[1]}\n{small}\n{shown}")
        is_trained = trained.code in (0, 143)
        return Verdict("trained" if is_trained else "refused in training", where, "" if is_trained else trained.message)

    def _small(self, recipe: Recipe) -> dict[str, Any]:
        small: dict[str, Any] = {**SMALL, "train.threads": 1}
        if recipe.data.reader in WRITERS:
            tree = tree_of(recipe)
            root = self.work / "data" / tree
            small["data.root"] = str(root if root.is_dir() else write_tree(tree, root))
        elif "count" in signature(READERS[recipe.data.reader]).parameters:
            small["data.count"] = 6
        return small | smaller(recipe)


def not_finite(directory: Path, said: str, *, is_done: bool) -> tuple[str, str] | None:
    """The fault of a run that ended well and holds numbers that are not finite, which nobody was told of."""
    if not is_done or "is not finite" in said:
        return None
    lines = (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line).get("loss", 0.0) for line in lines]
    if any(loss is None or not math.isfinite(loss) for loss in losses):
        return "not finite", f"losses are {losses}"
    weights = load_file(directory / "model.safetensors") if (directory / "model.safetensors").is_file() else {}
    wrong = [name for name, values in weights.items() if not torch.isfinite(values.float()).all()]
    return ("not finite", f"weights of {wrong[:3]}") if wrong else None


def _at(recipe: Recipe, dotted: str) -> Any:
    section, key = dotted.split(".")
    return getattr(getattr(recipe, section), key, None)


def _written(recipe: Recipe, path: Path) -> Path:
    again = path.with_name("again.yaml")
    again.write_text(dump_recipe(recipe), encoding="utf-8")
    return again


def cases(work: Path, seed: int) -> Recipes:
    """As `child.serve` asks for."""
    return Recipes(work, seed)
