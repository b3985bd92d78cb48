"""The half of the cases on which the checks may be tuned."""

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.tuning import (
    boxes,
    captions,
    classification_data,
    classification_networks,
    classification_optimisation,
    classification_scores,
    classification_training,
    denoising,
    embedding,
    healthy_classes,
    healthy_maps,
    healthy_vectors,
    pose,
    recipe_trees,
    recipes,
    segmentation,
    segmentation_scores,
)

CASES: tuple[Case, ...] = (
    *healthy_classes.HEALTHY,
    *healthy_maps.HEALTHY,
    *healthy_vectors.HEALTHY,
    *recipes.HEALTHY,
    *classification_data.CASES,
    *classification_networks.CASES,
    *classification_training.CASES,
    *classification_optimisation.CASES,
    *classification_scores.CASES,
    *segmentation.CASES,
    *segmentation_scores.CASES,
    *denoising.CASES,
    *pose.CASES,
    *boxes.CASES,
    *embedding.CASES,
    *captions.CASES,
    *recipes.CASES,
    *recipe_trees.CASES,
)
