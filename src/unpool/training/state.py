"""A run as tensors and plain values, and back: all that an exact resume needs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from unpool import machine
from unpool.errors import EnvironmentFault, ModelFileError
from unpool.manifest import check_format
from unpool.task import joined_state, split_state
from unpool.training import processes
from unpool.training.averaging import EqualAveraging
from unpool.training.callbacks import Callback
from unpool.training.files import host_copy
from unpool.training.job import Counters, Job

FORMAT = 1
WEIGHTS, AVERAGE, OPTIMIZER = "weights/", "average/", "optimizer/"
_log = logging.getLogger(__name__)


def final_state(job: Job) -> dict[str, Tensor]:
    """Weights and buffers to be used from now on, on the host: averaged ones where the job averages.

    The network's have the names of its `state_dict`; the task's stand behind `task/`.
    """
    state = dict(job.learned.state_dict())
    if job.averaging is not None:
        state.update(job.averaging.averages)
    state.update(job.statistics)
    return joined_state(*({name: value.clone() for name, value in part.items()} for part in _parts(host_copy(state))))


def share_statistics(job: Job) -> None:
    """Gives every process the leader's buffers, such as the running statistics of batch norm, and their averages.

    Weights are the same in all of them, which is checked.

    Raises:
        EnvironmentFault: weights differ from those of another process.
    """
    if processes.world_size() == 1:
        return
    learned, averages = job.learned, {} if job.averaging is None else job.averaging.averages
    weights = {name for name, _ in learned.named_parameters()}
    with torch.no_grad():
        sums = [float(weight.detach().double().sum()).hex() for weight in learned.parameters()]
        if any(other != sums for other in processes.gathered(sums)):
            raise EnvironmentFault(
                f"after step {job.counters.step} the weights of the processes differ: they must run the same versions "
                "on processors of one kind, and a data set or callback of your own must not change the network"
            )
        processes.share([*learned.buffers(), *(value for name, value in averages.items() if name not in weights)])


def use_final(job: Job, weights: Mapping[str, Tensor]) -> None:
    """Puts what `final_state` gave into the job's model and task."""
    model, task = split_state(weights)
    job.model.load_state_dict(model)
    job.task.load_state_dict(task)


def _parts(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return _below(state, "model."), _below(state, "task.")


def job_state(job: Job, callbacks: Sequence[Callback] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values from which `restore` goes on bit by bit. The tensors are not copied."""
    tensors = {WEIGHTS + name: value for name, value in job.learned.state_dict().items()}
    meta: dict[str, Any] = {"format": FORMAT, "step": job.counters.step, "counters": asdict(job.counters)}
    if job.averaging is not None:
        tensors |= {AVERAGE + name: value for name, value in job.averaging.averages.items()}
        meta["averaging_updates"] = job.averaging.updates
        if isinstance(job.averaging, EqualAveraging):
            meta["averaging_steps"] = job.averaging.due(job.counters.step)
    held, plain = _optimizer_state(job)
    tensors |= held
    meta["optimizer"] = plain
    meta["scaler"] = job.scaler.state_dict()
    meta["made_on"] = _environment()
    meta["callbacks"] = {name: callback.state_dict() for name, callback in _named(callbacks).items()}
    return tensors, meta


def restore(
    job: Job, callbacks: Sequence[Callback] = (), *, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Puts a job, made as the first time, where the saved one stood; warns where it stood on another machine.

    Raises:
        ModelFileError: the state belongs to another network, optimiser or averaging.
    """
    check_format(meta.get("format"), FORMAT, source="the saved state")
    _load_weights(job, _below(tensors, WEIGHTS))
    _load_averages(job, _below(tensors, AVERAGE), meta)
    _load_optimizer(job, _below(tensors, OPTIMIZER), meta["optimizer"])
    if job.scaler.is_enabled():
        job.scaler.load_state_dict(meta["scaler"])
    job.counters = Counters(**meta["counters"])
    for name, callback in _named(callbacks).items():
        if meta["callbacks"].get(name):
            callback.load_state_dict(meta["callbacks"][name])
    _compare_environments(meta.get("made_on", {}), _environment())


def _environment() -> dict[str, Any]:
    """What decides how numbers are rounded: processor, threads, versions."""
    counts = {"threads": torch.get_num_threads(), "processes": processes.world_size()}
    return {"processor": machine.processor(), **counts, **machine.versions()}


def count_of(meta: Mapping[str, Any]) -> int:
    """How many processes trained the run that was saved."""
    return int(meta.get("made_on", {}).get("processes", 1))


def _compare_environments(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [f"{key} {then[key]} (now {now.get(key)})" for key in then if then[key] != now.get(key)]
    if changed:
        _log.warning(
            "the run was saved with %s: it goes on, but not with the same bits as a run left alone", ", ".join(changed)
        )


def _load_weights(job: Job, saved: Mapping[str, Tensor]) -> None:
    current = job.learned.state_dict()
    _check_names("network", set(saved), set(current))
    with torch.no_grad():
        for name, value in current.items():
            _check_shape(name, saved[name], value)
            value.copy_(saved[name])


def _load_averages(job: Job, averages: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    averaging, updates = job.averaging, int(meta.get("averaging_updates", -1))
    if (averaging is not None) != (updates >= 0):
        raise ModelFileError(
            "the saved state and the recipe differ in train.ema or train.swa: averaged weights in one of them only"
        )
    if averaging is None:
        return
    if isinstance(averaging, EqualAveraging) and meta["averaging_steps"] != averaging.due(meta["step"]):
        _log.warning("the averaged weights of train.swa begin anew: with other epochs they are of other ones")
        averages, updates = {}, 0
    if updates or not isinstance(averaging, EqualAveraging):
        _check_names(
            "averaged weights", set(averages), {n for n, v in job.learned.state_dict().items() if _is_float(v)}
        )
    averaging.load(job.learned, averages, updates=updates)


def _optimizer_state(job: Job) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for name, weight in job.learned.named_parameters():
        for key, value in job.optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMIZER}{name}/{key}"] = value
            else:
                plain.setdefault(name, {})[key] = value
    return tensors, plain


def _load_optimizer(job: Job, saved: Mapping[str, Tensor], plain: Mapping[str, Mapping[str, Any]]) -> None:
    """Moments take the layout of their weight, which the fused kernels count on."""
    weights = dict(job.learned.named_parameters())
    _check_names(
        "optimiser's weights", {path.rpartition("/")[0] for path in saved} | set(plain) | set(weights), set(weights)
    )
    for name, values in plain.items():
        job.optimizer.state[weights[name]].update(values)
    for path, value in saved.items():
        name, _, key = path.rpartition("/")
        weight = weights[name]
        is_moment = value.dim() > 0 and value.shape == weight.shape
        moment = torch.empty_like(weight, dtype=value.dtype).detach() if is_moment else value.to(weight.device)
        job.optimizer.state[weight][key] = moment.copy_(value)


def _named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    named: dict[str, Callback] = {}
    for callback in callbacks:
        name, count = type(callback).__name__, 1
        while name in named:
            count += 1
            name = f"{type(callback).__name__}-{count}"
        named[name] = callback
    return named


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _check_names(what: str, saved: set[str], expected: set[str]) -> None:
    if saved != expected:
        raise ModelFileError(
            f"the saved {what} and the recipe's differ: the state lacks {sorted(expected - saved)[:8]} "
            f"and has besides {sorted(saved - expected)[:8]}: resume with the recipe of the run"
        )


def _check_shape(name: str, saved: Tensor, expected: Tensor) -> None:
    if saved.shape != expected.shape:
        raise ModelFileError(
            f"{name} is {tuple(saved.shape)} in the saved state and {tuple(expected.shape)} in the network: "
            "resume with the recipe of the run"
        )
