"""One training run, from its readers to its report: what `train` and `train --resume` both do."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from unpool import machine
from unpool.assemble.callbacks import batches_to_calibrate, make_callbacks
from unpool.assemble.data import Data, read_data, training_setup
from unpool.assemble.first_filters import FirstFilters
from unpool.assemble.job import make_job, make_schedule
from unpool.assemble.loaders import make_eval_loader, make_train_loader
from unpool.assemble.mirror import kept_sides
from unpool.assemble.settling import settled
from unpool.custom_parts import CustomParts
from unpool.data.loader import Loader
from unpool.data.order import Grouped, whole_of
from unpool.data.plain import is_iterated
from unpool.data.seeding import shared_restored
from unpool.errors import EnvironmentFault, RecipeError
from unpool.finishing import write_metrics, write_run_report
from unpool.guarding import Run, guarded
from unpool.manifest import sum_of
from unpool.model_file import describe
from unpool.overview import six_lines
from unpool.recipe import Recipe, dump_recipe, load_recipe, load_run_recipe, settings_in_common
from unpool.report_pictures import sheet_sections
from unpool.run_directory import (
    BEST,
    CONFIG,
    DATA,
    RECIPE,
    STATES,
    VARIABLES,
    RunDirectory,
    as_bytes,
)
from unpool.same_set import check_same_set
from unpool.task import Task
from unpool.training import processes, speed
from unpool.training.calibration import warn_of_processes, warn_of_statistics
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import keep_newest, load
from unpool.training.evaluation import Evaluate
from unpool.training.job import Job
from unpool.training.log import list_variables
from unpool.training.loop import SAVED, fit
from unpool.training.memory import batch_that_fits
from unpool.training.preflight import dry_run
from unpool.training.state import count_of, restore
from unpool.training.stopping import StopRequest
from unpool.training.stopwatch import Stopwatch
from unpool.types import Batch, DataInfo, Part

_log = logging.getLogger(__name__)


def train_to_end(
    recipe: Recipe,
    directory: RunDirectory,
    custom: CustomParts,
    *,
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Trains to the end, from the newest saved state where there is one, and leaves a finished run directory.

    The caller's generators are left as they were: a split that is drawn after a run is no function of the run's seed.

    Args:
        recipe: what to train; it is written into the run with every choice made.
        directory: held by the caller.
        custom: parts that replace those of the recipe.
        check: make the quick checks before the first step, and look on at the ends of epochs.
        progress: called with (files done, files in all) while the data is read.

    Returns:
        What metrics.json holds.

    Raises:
        DataError: a set cannot be used, or is not the one that a resumed run began with.
    """
    stopwatch = Stopwatch(time.monotonic())
    state = load(directory / STATES)
    is_other_count = state is not None and count_of(state[1]) != processes.world_size()  # cores are shared otherwise
    if recipe.train.threads != "auto" and not is_other_count:
        torch.set_num_threads(recipe.train.threads)
    with StopRequest(recipe.train.time_limit_s) as stop, shared_restored():

        def tick(done: int, total: int) -> None:
            stop.check()
            if progress is not None:
                progress(done, total)

        unreadable = state[1]["counters"].get("unreadable", []) if state is not None else []
        data, unreadable = _same_data(recipe, directory, custom, unreadable=unreadable, progress=tick)
        _require_same_start(recipe, data, state)
        recipe = settled(recipe, data, model=custom.model)
        loader = make_train_loader(recipe, data, order=custom.order)
        job = make_job(recipe, data, loader, model=custom.model, stop=stop, is_resumed=state is not None)
        processes.share([*job.learned.parameters(), *job.learned.buffers()])  # a caller's network may be drawn anew
        starts_new = recipe.model.weights is None and custom.model is None
        job, recipe, batch_s = _settle(recipe, data, loader, job=job, starts_new=starts_new)
        watching = guarded(Run(recipe, data, job, loader=loader, custom=custom), check=check, is_new=state is None)
        stop.check()
        eval_loader = make_eval_loader(recipe, data.val.samples, data.preprocessing, is_shared=True)
        filters = FirstFilters()
        is_held = job.averaging is not None and is_iterated(custom.train)  # training reads on in it meanwhile
        around = make_callbacks(
            recipe,
            directory,
            eval_loader,
            callbacks=[*custom.callbacks, stopwatch, filters, *watching],
            calibrating=batches_to_calibrate(loader, is_held=is_held),
        )
        if state is not None:
            restore(job, around.callbacks, tensors=state[0], meta=state[1])
            job.counters.unreadable = unreadable
            _tell_changes(directory, recipe, job, around.evaluation)
        _describe(directory, recipe, job, data=data, custom=custom)
        network = recipe.model.described if custom.model is None else custom.network
        _log.info(six_lines(recipe, job, data, loader, network=network, run=directory.path, batch_s=batch_s))
        _fit(job, around.callbacks, directory)

        def results() -> dict[str, Any]:
            metrics = write_metrics(directory, job, data=data, around=around, time_s=stopwatch.time_s())
            sheets = [] if is_iterated(custom.train) else sheet_sections(recipe, data, loader, filters)
            write_run_report(directory, job, data, eval_loader, sheets=sheets)
            keep_newest(directory / STATES)
            return metrics

        return processes.by_leader(results)


def _require_same_start(recipe: Recipe, data: Data, state: tuple[Any, dict[str, Any]] | None) -> None:
    """Raises RecipeError or EnvironmentFault where the processes have other settings, images, or saved states."""
    if processes.world_size() == 1:
        return
    first, *others = processes.gathered(settings_in_common(recipe))
    if differ := sorted({key for other in others for key, _ in first.items() ^ other.items()}):
        raise RecipeError(
            f"the processes have other settings than one another, {', '.join(differ)}: give every process the same, "
            "train.seed too, from which each takes its part"
        )
    step = 0 if state is None else state[1]["step"]
    starts = processes.gathered((step, sum_of(as_bytes({"train": data.train.record(), "val": data.val.record()}))))
    if len(set(starts)) > 1:
        what = "saved states" if len({step for step, _ in starts}) > 1 else "images"
        raise EnvironmentFault(
            f"the processes read other {what} than one another: the data and the run's folder must be the same on "
            "every machine, such as on a file system that they share"
        )


def _fit(job: Job, callbacks: Sequence[Callback], directory: RunDirectory) -> None:
    """Trains; notes in the directory where not even one step was taken and nothing was saved to go on with."""
    try:
        fit(job, callbacks)
    except BaseException as error:
        directory.is_unused = job.counters.step == 0 and not isinstance(error, SAVED)
        raise


def _same_data(
    recipe: Recipe,
    directory: RunDirectory,
    custom: CustomParts,
    *,
    unreadable: Sequence[str],
    progress: Callable[[int, int], None],
) -> tuple[Data, list[str]]:
    """The data, of a run that has begun what it began with, and those of `unreadable` that were not repaired since."""
    recorded = mean_image = None
    if (directory / RECIPE).is_file():
        recorded = directory.read_json(DATA)
        mean_image = directory.read_json(CONFIG)["preprocessing"]["mean_image"]
    data = read_data(
        recipe, train=custom.train, val=custom.val, recorded=recorded, begun_with=mean_image, progress=progress
    )
    repaired = [] if recorded is None else check_same_set(directory, data, unreadable)
    return data, sorted(set(unreadable) - set(repaired))


def _data_warnings(recipe: Recipe, info: DataInfo, loader: Loader) -> list[str]:
    warnings, order = kept_sides(recipe, info), whole_of(loader.order)
    if order.batch < recipe.train.images:
        warnings.append(
            f"train.batch is {recipe.train.batch} and the training set has {order.num_samples} images: a step takes "
            f"{'all' if order.batch == order.num_samples else order.batch}"
        )
    if isinstance(order, Grouped) and order.never_used:
        warnings.append(
            f"data.order grouped never uses {order.never_used} of {order.num_samples} images: their groups are smaller "
            f"than a batch of {order.batch}; lower train.batch or set train.drop_last=false"
        )
    return warnings


def _settle(recipe: Recipe, data: Data, loader: Loader, *, job: Job, starts_new: bool) -> tuple[Job, Recipe, float]:
    """The job in the way that is fastest here, the recipe with everything that was chosen, and seconds per batch."""
    batch, smallest, parts = _first_batch(loader, job)
    with batch_that_fits(job, batch):
        warnings = [
            *_data_warnings(recipe, data.info, loader),
            *job.task.warnings(training_setup(recipe, data, starts_new=starts_new)),
            *dry_run(job, batch, smallest=smallest, parts=parts),
            *warn_of_statistics(job, is_precise=recipe.train.precise_norms),
            *warn_of_processes(job, whole_of(loader.order).batch),
        ]
        for warning in dict.fromkeys(chain.from_iterable(processes.gathered(warnings))):
            _log.warning(warning)
        precisions = speed.allowed_precisions(
            recipe.train.precision, job.device, allow_emulated=recipe.train.allow_emulated
        )
        memory_formats = speed.allowed_formats(recipe.train.memory_format)
        if (ways := len(precisions) * len(memory_formats)) > 1:
            _log.info("choosing the fastest of %d settings of precision and memory format", ways)
        choice = processes.by_leader(
            lambda: speed.choose(
                job.model,
                job.task,
                batch,
                prepare=job.prepare,
                precisions=precisions,
                memory_formats=memory_formats,
                cache=machine.cache_folder("speed"),
            )
        )
    timed = ", ".join(f"{name} {taken_s:.3f} s" for name, taken_s in choice.measured.items())
    _log.debug("trains in %s, %s (one batch: %s)", choice.precision, choice.memory_format, timed)
    job = replace(job, precision=choice.precision, memory_format=choice.memory_format)
    chosen = {
        "data.mean": list(data.preprocessing.mean),
        "data.std": list(data.preprocessing.std),
        "data.workers": loader.workers,
        "train.threads": torch.get_num_threads(),
        "train.precision": choice.precision,
        "train.memory_format": choice.memory_format,
    }
    return job, load_recipe(recipe, chosen), choice.seconds_per_step


def _first_batch(loader: Loader, job: Job) -> tuple[Batch, int, tuple[Part | None, Part | None]]:
    """The first of the largest batches of epoch 0, the samples of a smallest one, and which parts the two are.

    All processes choose the same two, by the samples of all.
    """
    batches = loader.order.batches(0)
    whole = batches if whole_of(loader.order) is loader.order else whole_of(loader.order).batches(0)
    sizes = [len(indices) for indices in whole]
    largest, smallest = sizes.index(max(sizes)), sizes.index(min(sizes))
    parts = job.part(0, largest), job.part(0, smallest)
    return loader.batch_of(batches[largest], 0), len(batches[smallest]), parts


def _tell_changes(directory: RunDirectory, recipe: Recipe, job: Job, evaluation: Evaluate) -> None:
    """What a resumed run has lost since it was saved, and what more epochs do to its learning rate."""
    if evaluation.best_step is not None and not (directory / BEST).is_file():
        _log.warning("%s is gone: the best weights of what follows are kept", directory / BEST)
        evaluation.forget_best()
    planned, step = load_run_recipe(directory.path).train, job.counters.step
    before, now = make_schedule(planned, job.steps_per_epoch)(step), job.schedule(step)
    if before != now:
        _log.warning(
            "%d epochs in place of %d stretch the schedule %s: the learning rate at step %d is %.6g and was %.6g",
            *(recipe.train.epochs, planned.epochs, recipe.train.schedule, step, now, before),
        )


def _describe(directory: RunDirectory, recipe: Recipe, job: Job, *, data: Data, custom: CustomParts) -> None:
    """All that resume and predict need beside the weights, before the first step, and a list of the variables."""
    write_description(directory, recipe, job.task, data=data, custom=custom)
    variables = list_variables(job.model)
    directory.write_page(VARIABLES, f"{variables}\n")
    _log.debug(variables)


def write_description(directory: RunDirectory, recipe: Recipe, task: Task, *, data: Data, custom: CustomParts) -> None:
    """Writes config.json, data.json and recipe.yaml, which makes a folder a run."""
    model, text = recipe.model, dump_recipe(recipe)
    network = {"name": model.name, "backbone": model.backbone, "options": model.options}
    if custom.model is not None:
        network = {"name": custom.network, "backbone": None, "options": {}}
        text = f"# trained was {custom.network}, in place of what stands below model\n{text}"
    config = describe(
        network,
        (recipe.task.name, task),
        options=recipe.task.options,
        preprocessing=replace(data.preprocessing, crop=recipe.data.crop),  # of photographs, see `as_sized`
        info=data.info,
        custom=custom.names,
    )
    record = {"train": data.train.record(), "val": data.val.record(), "copies": data.copies.to_json()}
    files = {
        DATA: as_bytes({**record, "why_no_resume": custom.why_no_resume}),
        CONFIG: as_bytes(config),
        RECIPE: text.encode(),
    }
    directory.write(files, recipe=recipe.model_dump(mode="json"))
