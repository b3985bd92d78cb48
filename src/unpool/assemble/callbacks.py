"""What happens around the steps of a run: measuring, patience, log, progress, and saving."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from unpool.data.loader import Loader
from unpool.recipe import Recipe
from unpool.run_directory import BEST, STATES, RunDirectory
from unpool.training import processes
from unpool.training.calibration import BATCHES, LEAST
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.log import Monitor, TensorBoard, has_tensorboard
from unpool.training.patience import Patience
from unpool.training.progress import Progress
from unpool.training.saving import Save
from unpool.types import Batch


class Around(NamedTuple):
    """All callbacks of a run, and those among them that it is asked about at its end."""

    callbacks: list[Callback]
    evaluation: Evaluate
    patience: Patience | None


def make_callbacks(
    recipe: Recipe,
    directory: RunDirectory,
    measured: Loader,
    *,
    callbacks: Sequence[Callback],
    calibrating: Callable[[int], Iterable[Batch]],
) -> Around:
    """The callbacks of this process; those that write are the leader's.

    Args:
        recipe: how often to measure, log and save.
        directory: written to.
        measured: loader of the validation images.
        callbacks: further ones.
        calibrating: what `batches_to_calibrate` returned.
    """
    train = recipe.train
    evaluation = Evaluate(
        measured,
        every=train.evaluate_every,
        best=partial(directory.write_tensors, BEST) if processes.is_leader() else None,
        calibrating=calibrating,
        is_precise=train.precise_norms,
    )
    patience = None
    if train.schedule == "plateau":
        patience = Patience(evaluation, patience=train.patience, drops=train.drops, gamma=train.gamma)
    elif train.stop_after is not None:
        patience = Patience(evaluation, patience=train.stop_after)
    watching = [evaluation] if patience is None else [evaluation, patience]
    if not processes.is_leader():
        return Around([*watching, *callbacks], evaluation, patience)
    every: list[Callback] = [Monitor(directory / "log.jsonl", every=train.log_every), *watching]
    if has_tensorboard():
        every.append(TensorBoard(directory / "events"))
    every += [*callbacks, Progress()]
    saving = Save(directory / STATES, callbacks=every, every_s=train.save_every_s)
    return Around([*every, saving], evaluation, patience)


def batches_to_calibrate(loader: Loader, *, is_held: bool) -> Callable[[int], Iterable[Batch]]:
    """By epoch the first training batches, made anew each time, or a few of epoch 0 that are made once.

    Their order is asked for now, in epoch 0: a sampler may count how often it is asked.
    """
    first = loader.order.batches(0)[: BATCHES if is_held else LEAST]
    if not is_held:
        return lambda epoch: (loader.batch_of(indices, epoch) for indices in first)
    held = [loader.batch_of(indices, 0) for indices in first]
    return lambda epoch: [] if epoch else held
