"""All checks, in the order in which they are made and shown."""

from unpool.checks import (
    counting,
    decay,
    learning,
    membership,
    precision,
    predicting,
    rates,
    schedules,
    scores,
    stepping,
)
from unpool.checks.findings import Check

CHECKS: tuple[Check, ...] = (
    *membership.CHECKS,
    *stepping.CHECKS,
    *schedules.CHECKS,
    *decay.CHECKS,
    *precision.CHECKS,
    *learning.CHECKS,
    *rates.CHECKS,
    *scores.CHECKS,
    *counting.CHECKS,
    *predicting.CHECKS,
)
