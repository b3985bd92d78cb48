"""The keys of a recipe's section `train`: length, optimiser, schedule, averaging, precision and evaluation."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unpool.errors import RecipeError, quoted
from unpool.limits import MANY, Seed

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, MANY]
Epochs = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]


class Section(BaseModel):
    """A section without further keys; a value is never converted to another kind."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Train(Section):
    """The training: length, optimiser, schedule, precision and evaluation.

    Attributes:
        epochs: passes over the training set.
        batch: images per step, before accumulation. "auto" takes the largest power of two that fits into memory.
        lr: peak learning rate.
        backbone_lr: factor of the rate for weights of the network's backbone, such as 0.1 for trained ones.
        layer_decay: further factor of the rate, for each stage that lies between a stage and the end of the backbone.
        optimizer: the rule of a step.
        momentum: of sgd, nesterov and caffe_sgd.
        rms_decay: of rmsprop, the share of the mean square gradient that a step keeps.
        weight_decay: share of each weight, times the learning rate, that a step takes away.
        decay_norms: whether that is of biases, and of scales and shifts of normalisation, too.
        schedule: of the learning rate over all steps, after the warm-up.
        milestones: epochs at which "step" multiplies the rate by `gamma`.
        gamma: factor of "step" and "plateau".
        patience: evaluations without a better value, in the measure that chooses the best weights, after which
            "plateau" multiplies the rate by `gamma`.
        drops: how often "plateau" lowers the rate, before it ends the run in place of doing so once more.
        power: exponent of "poly".
        warmup_epochs: epochs over which the rate rises from zero; in a run of no more epochs, a fifth of it.
        clip_norm: largest norm of the gradient of all parameters; longer ones are scaled down. None does not clip.
        stop_after: evaluations in a row without a better value after which the run ends; None trains all epochs.
        ema: decay of the averaged weights.
        swa: share of the epochs after which weights are averaged, those at the end of each epoch counting equally;
            None does not.
        swa_lr: rate from there on; None keeps the one that the schedule has reached there.
        swa_cycle: epochs of a cycle, in which the rate falls from there to a fifth, and at whose end weights are
            taken in; None keeps the rate.
        norm_momentum: share of a new batch in the running statistics of batch norm, or "average" for the mean over all
            batches so far; None leaves it to the network.
        precise_norms: whether batch norm's statistics for evaluation are computed after training, over the whole
            training set with the weights held still.
        accumulate: batches whose gradients are added before a step.
        seed: of initial weights, order, augmentation and dropout.
        device: where to train; "auto" takes the accelerator where there is one.
        precision: of the network; "auto" times what this machine can do.
        memory_format: of images and maps; "auto" times both.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated.
        eval_batch: images per batch in evaluation; None for `batch`.
        save_every_s: seconds between saved states.
        time_limit_s: seconds after which the run saves and stops with exit code 75.
        drop_last: leave out the last batch of an epoch if it is not full.
        log_every: steps between lines of the log.
        allow_emulated: accept a precision that the processor only emulates.
        threads: of the processor; "auto" leaves torch's choice.
        processes: that train together, which `unpool train` starts on this machine; `batch` is that of all of them.
    """

    epochs: Count
    batch: Literal["auto"] | Count
    lr: Annotated[float, Field(ge=1e-12, le=1e6)]
    backbone_lr: Annotated[float, Field(gt=0, le=100)] = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    optimizer: Literal["sgd", "nesterov", "caffe_sgd", "rmsprop", "adam", "adamw"] = "sgd"
    momentum: Share = 0.9
    rms_decay: Share = 0.99
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    decay_norms: bool = False
    schedule: Literal["constant", "step", "cosine", "poly", "onecycle", "plateau"] = "constant"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, le=1_000_000)], ...], Field(max_length=1000)] = ()
    gamma: Annotated[float, Field(ge=1e-6, le=10)] = 0.1
    power: Annotated[float, Field(ge=0.01, le=100)] = 0.9
    patience: Count = 5
    drops: Annotated[int, Field(ge=1, le=3)] = 3
    warmup_epochs: Epochs = 0.0
    clip_norm: Annotated[float, Field(ge=1e-6, le=1e9)] | None = None
    stop_after: Count | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    swa: Annotated[float, Field(gt=0, lt=1)] | None = None
    swa_lr: Annotated[float, Field(ge=1e-12, le=1e6)] | None = None
    swa_cycle: Count | None = None
    norm_momentum: Literal["average"] | Annotated[float, Field(gt=0, le=1)] | None = None
    precise_norms: bool = False
    accumulate: Count = 1
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    allow_emulated: bool = False
    evaluate_every: Count = 1
    eval_batch: Count | None = None
    save_every_s: Seconds = 30.0
    time_limit_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    drop_last: bool = True
    log_every: Count = 1
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = "auto"
    processes: Annotated[int, Field(ge=1, le=1024)] = 1

    @property
    def images(self) -> int:
        """`batch`, of which "auto" was replaced by a number.

        Raises:
            RecipeError: it was not, as where a data set of the caller has batches itself.
        """
        if self.batch == "auto":
            raise RecipeError("train.batch is auto, and batches of this data set must be known before: set a number")
        return self.batch

    @property
    def unread(self) -> list[tuple[str, str]]:
        """Keys that are set and that the optimiser or schedule does not read, each with the key of that.

        Recipes and runs of before have such, so that they are no mistake that is refused.
        """
        reads = {
            "momentum": ("optimizer", ("sgd", "nesterov", "caffe_sgd")),
            "gamma": ("schedule", ("step", "plateau")),
            "power": ("schedule", ("poly",)),
        }
        is_set = {key: getattr(self, key) != type(self).model_fields[key].default for key in reads}
        return [(key, of) for key, (of, names) in reads.items() if is_set[key] and getattr(self, of) not in names]

    @property
    def averaged_epochs(self) -> range:
        """After how many epochs `swa` takes in the weights; at least once, and never those of before the first step."""
        start = max(1, min(round((self.swa or 0.0) * self.epochs), self.epochs - 1))
        return range(start, self.epochs + 1, self.swa_cycle or 1)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError(
                f"schedule is {self.schedule!r} and milestones is {quoted(list(self.milestones))}; "
                "schedule 'step' and milestones (epochs at which the rate drops) must be set together"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones is {quoted(list(self.milestones))}; each must be later than the one before")
        self._agree_on_rule()
        self._agree_on_ends()
        return self

    def _agree_on_rule(self) -> None:
        """Raises ValueError where a key is set that only another optimiser or schedule reads."""
        reads = {
            "rms_decay": ("optimizer", "rmsprop"),
            "patience": ("schedule", "plateau"),
            "drops": ("schedule", "plateau"),
        }
        for key, (of, name) in reads.items():
            value, chosen = getattr(self, key), getattr(self, of)
            if chosen != name and value != type(self).model_fields[key].default:
                raise ValueError(f"{key} is {value} and {of} {chosen!r}; only {of} {name!r} reads it: leave it out")
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise ValueError("momentum is 0 and optimizer 'nesterov', which looks ahead along it: take optimizer 'sgd'")
        if self.schedule == "plateau" and self.gamma >= 1:
            raise ValueError(f"gamma is {self.gamma:g} and schedule 'plateau' lowers the rate: give one below 1")

    def _agree_on_ends(self) -> None:
        """Raises ValueError where two ways to end or to average exclude one another."""
        if self.schedule == "plateau" and self.stop_after is not None:
            raise ValueError(
                f"stop_after is {self.stop_after} and schedule 'plateau', which ends the run itself after `drops`: "
                "leave stop_after out"
            )
        if self.swa is None:
            if set_alone := [key for key in ("swa_lr", "swa_cycle") if getattr(self, key) is not None]:
                raise ValueError(f"{set_alone[0]} is set and swa is not: set swa, such as 0.75, or leave both out")
            return
        if self.ema is not None:
            raise ValueError(f"ema is {self.ema:g} and swa {self.swa:g}, two averages of the weights: leave one out")
        if self.schedule == "plateau" or self.stop_after is not None:
            raise ValueError(
                f"swa is {self.swa:g}, a share of the epochs, and how many there are is known only at the end with "
                "schedule 'plateau' or stop_after: leave one out"
            )
