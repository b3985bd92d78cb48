"""All checks, in the order in which they are made and shown."""

from unpool.checks.findings import Check

CHECKS: tuple[Check, ...] = ()
