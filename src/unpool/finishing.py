"""What a run leaves at its end: the last weights, metrics.json and report.html."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from unpool import machine
from unpool.assemble.callbacks import Around
from unpool.assemble.data import Data
from unpool.data.loader import Loader
from unpool.pages.page import Section
from unpool.report import confident_section, write_report
from unpool.report_pictures import draw_examples
from unpool.run_directory import LAST, METRICS, REPORT, RunDirectory
from unpool.task import Baseline, Description, is_above
from unpool.task_facts import with_facts
from unpool.training import processes
from unpool.training.job import Job
from unpool.training.log import as_json, without_tables
from unpool.training.state import final_state, use_final
from unpool.training.step import step_of

_log = logging.getLogger(__name__)


def write_metrics(directory: RunDirectory, job: Job, *, data: Data, around: Around, time_s: float) -> dict[str, Any]:
    """Writes last.safetensors and metrics.json; the job's network has the last weights from then on.

    Args:
        directory: of the run.
        job: trained to its end.
        data: of the run.
        around: the callbacks, which measured.
        time_s: of the training.

    Returns:
        What metrics.json holds.
    """
    evaluation, weights = around.evaluation, final_state(job)
    (directory / REPORT).unlink(missing_ok=True)  # of fewer epochs: the run is finished once there is a new one
    directory.write_tensors(LAST, weights)
    use_final(job, weights)
    facts: dict[str, Any] = {
        "history": [without_tables(line) for line in evaluation.history],
        "training": _training(job, around, time_s=time_s),
        "data": {
            "train": len(data.train.samples),
            "val": len(data.val.samples),
            "classes": data.train.counts.to_json(),
            "never_learned": data.train.counts.absent(job.task.needs),
            "not_measured": data.val.counts.absent(job.task.needs),
            "skipped": [fault._asdict() for fault in (*data.train.faults, *data.val.faults)],
            "unreadable": job.counters.unreadable,
        },
    }
    if job.task.asks_baseline or (data.train.manifest["memory"] and data.val.manifest["memory"]):
        baseline = job.task.baseline(data.train.samples, data.val.samples, evaluation.history[-1])
        if baseline is not None:
            facts["baseline"] = baseline._asdict()
            tell_baseline(baseline, evaluation.history[-1], job.task.description(baseline.metric))
    if text := facts["training"]["selection"]:
        _log.warning(text)
    metrics = with_facts(_without(evaluation.history[-1], "epoch", "step"), **facts)
    directory.write_json(METRICS, as_json(metrics))
    return metrics


def tell_baseline(baseline: Baseline, measured: Mapping[str, Any], description: Description) -> None:
    """Logs what a trivial answer reaches, and warns where the network's measured score is not better."""
    metric = baseline.metric
    _log.info("%s It reaches %s %.4f", baseline.about, metric, baseline.value)
    if not is_above(measured, baseline, description):
        text = "the network's %s is %.4f, not better than the %.4f of a trivial answer"
        _log.warning(text, metric, measured[metric], baseline.value)


def _training(job: Job, around: Around, *, time_s: float) -> dict[str, Any]:
    """Facts of the run itself, apart from the metrics, whose names are the task's."""
    return {
        "best_step": around.evaluation.best_step,
        "ended_early": job.counters.is_ended and job.counters.epoch < job.epochs,
        "selection": None if around.patience is None else around.patience.selection(job),
        "skipped_steps": job.counters.skipped,
        "images_seen": job.counters.images,
        "images_replaced": job.counters.replaced,
        "processes": processes.world_size(),
        "precision": job.precision,
        "memory_format": job.memory_format,
        "time_s": round(time_s, 1),
        "hardware": machine.hardware(),
        "versions": machine.versions(),
    }


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def write_run_report(
    directory: RunDirectory, job: Job, data: Data, eval_loader: Loader, *, sheets: Sequence[Section]
) -> None:
    """Writes report.html, with pictures of the validation set.

    Args:
        directory: of the run, which has its metrics.
        job: trained to its end.
        data: of the run.
        eval_loader: of the validation set.
        sheets: sections of more pictures.
    """
    task, samples = job.task, data.val.samples
    drawn = draw_examples(
        step_of(job),
        samples,
        eval_loader.transform,
        prepare=job.prepare,
        memory_format=job.memory_format,
    )
    write_report(
        directory.path,
        described=task.described,
        best=task.best,
        legend=task.legend,
        examples=drawn.spread,
        worst=drawn.worst,
        more=[confident_section(drawn.confident, task.legend), *sheets],
    )
