"""Scores that torchvision states of its weights, as its metadata has them; nothing is downloaded."""

from typing import NamedTuple

from unpool.models.pretrained import PUBLISHED


class PublishedFigure(NamedTuple):
    """A score of published weights.

    Attributes:
        dataset: that it was measured on, such as "ImageNet-1K".
        metric: its name there, such as "acc@1".
        value: in percent, as there.
        source: name of the weights.
    """

    dataset: str
    metric: str
    value: float
    source: str


def published_figure(name: str) -> PublishedFigure | None:
    """Returns the first score of the weights published for a network; None where its publisher states none.

    Example:
        >>> published_figure("vgg16")[:3]
        ('ImageNet-1K', 'acc@1', 71.592)
        >>> published_figure("unet") is None
        True
    """
    member = next((names[name] for names in PUBLISHED.values() if name in names), None)
    if member is None:
        return None
    from torchvision.models import get_weight

    for dataset, scores in get_weight(member).meta.get("_metrics", {}).items():
        for metric, value in scores.items():
            return PublishedFigure(dataset, metric, float(value), f"torchvision {member}")
    return None
