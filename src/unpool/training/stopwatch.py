"""How long a run has trained, over all the processes that had a part in it."""

import time
from typing import Any

from unpool.training.callbacks import Callback


class Stopwatch(Callback):
    """Seconds since the start of the run, without the time between a stop and its resume.

    Attributes:
        started_s: monotonic clock when this process began with the run.
    """

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self._before_s = 0.0

    def time_s(self) -> float:
        """Seconds so far; what was trained after the last save of a killed process is not counted."""
        return self._before_s + time.monotonic() - self.started_s

    def state_dict(self) -> dict[str, Any]:
        return {"time_s": self.time_s()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before_s = float(state["time_s"])
