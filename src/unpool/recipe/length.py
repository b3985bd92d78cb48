"""Fits the schedule of a recipe to the length of its run."""

import logging

from unpool.recipe.reading import load_recipe
from unpool.recipe.settings import Recipe

# between the 5 of 90 epochs of Goyal et al. 2017 (arXiv:1706.02677) and the 0.3 that a one-cycle schedule rises
SHORT_WARMUP = 0.2
FEW_AVERAGED = 3
_log = logging.getLogger(__name__)


def fit_to_length(recipe: Recipe) -> Recipe:
    """The recipe with a warm-up that ends before the run does; the log says what was changed, or has no effect."""
    train = recipe.train
    for key, of in train.unread:
        _log.warning(
            "train.%s is %g and train.%s is %s, which does not read it: it changes nothing, leave it out",
            *(key, getattr(train, key), of, getattr(train, of)),
        )
    if late := [epoch for epoch in train.milestones if epoch >= train.epochs]:
        _log.warning(
            "train.epochs is %d, and train.milestones [%s] has %s, never reached: the learning rate does not fall "
            "there; lower train.milestones too",
            *(train.epochs, *(", ".join(f"{epoch:g}" for epoch in epochs) for epochs in (train.milestones, late))),
        )
    if train.swa is not None and (count := len(train.averaged_epochs)) < FEW_AVERAGED:
        _log.warning(
            "train.swa averages the weights at the end of %d of %d epochs, which are few: lower train.swa or "
            "train.swa_cycle, or train for more epochs",
            *(count, train.epochs),
        )
    if train.swa is not None and (last := train.averaged_epochs[-1]) < train.epochs:
        first = train.averaged_epochs.start
        _log.warning(
            "train.swa_cycle %d takes weights in after epoch %d for the last time, and what is learned in the %d "
            "epochs behind it is lost: take one that divides the %d epochs from epoch %d on",
            *(train.swa_cycle, last, train.epochs - last, train.epochs - first, first),
        )
    if train.warmup_epochs < train.epochs:
        return recipe
    used = SHORT_WARMUP * train.epochs
    _log.warning(
        "train.warmup_epochs is %g and train.epochs %d: the warm-up is shortened to %g epochs, a fifth of the run",
        *(train.warmup_epochs, train.epochs, used),
    )
    return load_recipe(recipe, {"train.warmup_epochs": used})
