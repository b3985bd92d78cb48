"""What happens around the steps: the moments, and what callbacks want saved."""

from typing import Any

from unpool.training.job import Job, StepRecord


class Callback:
    """Does nothing; override the moments you need.

    Attributes:
        rank: callbacks of a higher rank are called later; whoever saves the state comes last.
        saves: whether it saves the state of a run that is stopped.
    """

    rank = 0
    saves = False

    def start(self, job: Job) -> None:
        """Before the first step, after a state was restored."""

    def after_step(self, job: Job, record: StepRecord) -> None:
        """After every step, taken or skipped; the counters already include it."""

    def after_epoch(self, job: Job) -> dict[str, Any] | None:
        """After the last step of an epoch; may return metrics, which all callbacks then hear of."""

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        """After an evaluation; `job.counters.epoch` is still the epoch that it ends."""

    def stopped(self, job: Job) -> None:
        """Before the run ends by a signal or its time limit."""

    def end(self, job: Job) -> None:
        """After the last epoch."""

    def close(self) -> None:
        """Always, and last: gives back files and screens."""

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON values to be saved with the run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
