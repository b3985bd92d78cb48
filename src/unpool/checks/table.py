"""All checks, in the order in which they are made and shown."""

from unpool.checks import (
    activations,
    first_batch,
    loss_answers,
    loss_counts,
    loss_direction,
    loss_pairs,
    loss_scale,
    loss_words,
    norm_statistics,
    reading,
    symmetry,
    wiring,
)
from unpool.checks.findings import Check

CHECKS: tuple[Check, ...] = (
    *first_batch.CHECKS,
    *activations.CHECKS,
    *symmetry.CHECKS,
    *reading.CHECKS,
    *wiring.CHECKS,
    *norm_statistics.CHECKS,
    *loss_direction.CHECKS,
    *loss_scale.CHECKS,
    *loss_counts.CHECKS,
    *loss_pairs.CHECKS,
    *loss_words.CHECKS,
    *loss_answers.CHECKS,
)
