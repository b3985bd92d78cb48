"""All checks, in the order in which they are made and shown."""

from unpool.checks import decay, membership, rates, schedules, stepping
from unpool.checks.findings import Check

CHECKS: tuple[Check, ...] = (*membership.CHECKS, *stepping.CHECKS, *schedules.CHECKS, *decay.CHECKS, *rates.CHECKS)
