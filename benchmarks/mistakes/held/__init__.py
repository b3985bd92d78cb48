"""Half of the cases, written apart from the checks and held back until their one run."""

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.held import (
    boxes,
    captions,
    classification,
    counting,
    denoising,
    embedding,
    healthy,
    insects,
    masks,
    photographs,
    pose,
    recipes,
    recipes_of_things,
    segmentation,
    slides,
    textures,
)

CASES: tuple[Case, ...] = (
    *classification.CASES,
    *textures.CASES,
    *photographs.CASES,
    *slides.CASES,
    *insects.CASES,
    *segmentation.CASES,
    *masks.CASES,
    *denoising.CASES,
    *pose.CASES,
    *boxes.CASES,
    *embedding.CASES,
    *captions.CASES,
    *counting.CASES,
    *healthy.CASES,
    *recipes.CASES,
    *recipes_of_things.CASES,
)
