"""All checks, in the order in which they are made and shown."""

from unpool.checks import (
    alignment,
    augmented_pictures,
    augmented_targets,
    box_values,
    files_whole,
    label_values,
    learnable,
    mask_values,
    pictures_alike,
    pixel_values,
)
from unpool.checks.findings import Check

CHECKS: tuple[Check, ...] = (
    *files_whole.CHECKS,
    *label_values.CHECKS,
    *mask_values.CHECKS,
    *box_values.CHECKS,
    *pixel_values.CHECKS,
    *pictures_alike.CHECKS,
    *alignment.CHECKS,
    *learnable.CHECKS,
    *augmented_targets.CHECKS,
    *augmented_pictures.CHECKS,
)
