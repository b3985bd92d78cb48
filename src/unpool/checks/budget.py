"""The time that a check of a run may take."""

import time
from collections.abc import Callable


class Budget:
    """Seconds that are left; every measurement that can be made smaller asks for its share.

    Args:
        minutes: in all.
        clock: seconds, rising.

    Example:
        >>> seconds = iter([0.0, 30.0, 30.0, 200.0])
        >>> budget = Budget(minutes=2, clock=lambda: next(seconds))
        >>> budget.left_s(), budget.share_s(0.5), budget.left_s()
        (90.0, 45.0, 0.0)
    """

    def __init__(self, minutes: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes = minutes
        self._clock = clock
        self._start = clock()

    def left_s(self) -> float:
        """Seconds until the budget is used up, 0 after that."""
        return max(0.0, 60 * self.minutes - (self._clock() - self._start))

    def share_s(self, share: float) -> float:
        """Seconds of a measurement that may take so much of what is left."""
        return share * self.left_s()

    def used_s(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._start
