"""What to do with a trained network on new images: the lectures' table of four cases.

Donahue et al. 2014 (arXiv:1310.1531), Razavian et al. 2014 (arXiv:1403.6382), Yosinski et al. 2014 (arXiv:1411.1792).
The lectures say "very little" and "quite a lot"; FEW is ours.
"""

from typing import NamedTuple

from unpool.errors import RecipeError

FEW = 100  # images a class, below which there is little data


class Advice(NamedTuple):
    """What to do, why, and the keys of a recipe that do so.

    Attributes:
        action: one sentence.
        reason: one sentence.
        command: "probe" or "train".
        overrides: of a recipe, beside `model.weights`. Stages of `model.frozen` are called as in ResNets, those of
            another network as the message on a wrong name lists them; `stage_classifier` also needs `model.backbone`.
    """

    action: str
    reason: str
    command: str
    overrides: dict[str, object]


_ADVICE = {  # by whether there is little data, and whether it is similar
    (True, True): Advice(
        "Fit a linear classifier on the features of the last stage.",
        "The features fit already, and so few images would be learned by heart by more weights.",
        "probe",
        {},
    ),
    (True, False): Advice(
        "Fit linear classifiers on features of several stages of the network, which model.backbone has to name then, "
        "and take the best in cross-validation; get more images.",
        "The last stages know what the first images needed, the early ones edges and textures, which transfer; too few "
        "images are there to train either anew.",
        "probe",
        {"model.name": "stage_classifier", "model.at_stride": 16},
    ),
    (False, True): Advice(
        "Train the last stages at a tenth of the rate, the first ones frozen, which have other names in other networks "
        "than ResNets.",
        "The early features fit as they are, and there are enough images to move the last ones a little.",
        "train",
        {"model.frozen": ["backbone.stem"], "train.backbone_lr": 0.1},
    ),
    (False, False): Advice(
        "Train all stages, at a tenth of the rate and less for the older ones.",
        "There are enough images to change many layers, and trained weights are still a better start than drawn ones.",
        "train",
        {"train.backbone_lr": 0.1, "train.layer_decay": 0.8},
    ),
}


def transfer_advice(*, images: int, classes: int, is_similar: bool) -> Advice:
    """What to do with a trained network on new images, with the reason.

    Args:
        images: labelled ones of the training split.
        classes: of them.
        is_similar: whether they look like those that the network was trained on: photographs of things, for ImageNet.

    Raises:
        RecipeError: there are fewer images than classes, or fewer than two classes.

    Example:
        >>> advice = transfer_advice(images=40, classes=2, is_similar=True)
        >>> advice.action, advice.command
        ('Fit a linear classifier on the features of the last stage.', 'probe')
        >>> transfer_advice(images=20_000, classes=10, is_similar=False).overrides
        {'train.backbone_lr': 0.1, 'train.layer_decay': 0.8}
    """
    if classes < 2 or images < classes:
        raise RecipeError(f"{images} images of {classes} classes: give two classes at least, and an image of each")
    each, is_little = images / classes, images < FEW * classes
    advice = _ADVICE[is_little, is_similar]
    amount = f"{each:.3g} images a class are {'little' if is_little else 'much'} (fewer than {FEW} are little)."
    return advice._replace(reason=f"{amount} {advice.reason}", overrides=dict(advice.overrides))
