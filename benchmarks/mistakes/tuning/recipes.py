"""Healthy runs by recipe, and mistakes in the values of a recipe."""

from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.tuning import sets, trees
from benchmarks.mistakes.tuning.pieces import planted, rerouted


def textures_recipe(folders: Folders) -> OfRecipe:
    """A folder of textures, one folder a class."""
    trees.texture_folders(folders.scratch)
    return small_classifier(folders)


def small_classifier(folders: Folders) -> OfRecipe:
    """The recipe of such a folder, for small pictures and a narrow network."""
    return OfRecipe(
        "folder_resnet18",
        {
            "data.root": str(folders.scratch),
            "data.size": [32, 32],
            "model.width": 16,
            "train.batch": 16,
            "train.epochs": 12,
        },
    )


def digits_recipe(folders: Folders) -> OfRecipe:
    """A folder of digits; they are shifted and turned a little, and not mirrored."""
    trees.digit_folders(folders)
    augment = [{"translate": {"fraction": 0.08}}, {"rotate": {"degrees": 8}}]
    return rerouted(
        small_classifier(folders), data__channels=1, data__mean=[0.13], data__std=[0.31], data__augment=augment
    )


def insects_recipe(folders: Folders) -> OfRecipe:
    """Ants and bees by features of ImageNet, with the mean and deviation that these had."""
    root = str(sets.folder(folders, "hymenoptera"))
    return OfRecipe("hymenoptera_efficientnet_lite0", {"data.root": root, "data.size": [64, 64], "train.batch": 8})


def scenes_recipe(folders: Folders) -> OfRecipe:
    """A folder of scenes and masks."""
    trees.mask_folders(folders.scratch)
    return small_unet(folders)


def small_unet(folders: Folders) -> OfRecipe:
    """The recipe of such a folder, for small pictures and a narrow network."""
    return OfRecipe(
        "folder_unet",
        {
            "data.root": str(folders.scratch),
            "data.train_size": [48, 48],
            "model.width": 16,
            "model.widths": [64, 48, 32, 24, 16],
            "train.epochs": 15,
        },
    )


def pairs_recipe(folders: Folders) -> OfRecipe:
    """Noisy and clean pictures in pairs."""
    trees.noisy_pairs(folders.scratch)
    return small_denoiser(folders)


def small_denoiser(folders: Folders) -> OfRecipe:
    """The recipe of such pairs, for grey pictures and a narrow network."""
    return OfRecipe(
        "pairs_unet",
        {
            "data.root": str(folders.scratch),
            "data.channels": 1,
            "data.mean": [0.0],
            "data.std": [1.0],
            "data.train_size": [32, 32],
            "data.repeat": 2,
            "model.width": 8,
            "train.batch": 8,
            "train.epochs": 12,
        },
    )


def figures_recipe(_: Folders) -> OfRecipe:
    """Generated stick figures of the package."""
    return OfRecipe(
        "figures_simple_baselines",
        {"data.size": [64, 64], "model.width": 16, "model.widths": [32, 32, 32], "train.batch": 16, "train.epochs": 3},
    )


def boxes_recipe(folders: Folders) -> OfRecipe:
    """One ellipse a picture, corners in a table."""
    trees.box_table(folders.scratch)
    return small_localizer(folders)


def small_localizer(folders: Folders) -> OfRecipe:
    """The recipe of such a table, for small pictures and a narrow network."""
    return OfRecipe(
        "boxes_localizer",
        {
            "data.root": str(folders.scratch),
            "data.size": [64, 64],
            "model.width": 16,
            "model.hidden": 64,
            "train.epochs": 20,
        },
    )


def captions_recipe(folders: Folders) -> OfRecipe:
    """Sentences about shapes, a narrow backbone from scratch."""
    trees.caption_table(folders.scratch)
    return small_captioner(folders)


def small_captioner(folders: Folders) -> OfRecipe:
    """The recipe of such a table, for small pictures."""
    return OfRecipe(
        "captions_csv",
        {
            "data.root": str(folders.scratch),
            "data.size": [64, 64],
            "model.backbone": "resnet18",
            "model.weights": None,
            "model.frozen": [],
            "model.width": 16,
            "train.lr": 1e-3,
            "train.batch": 16,
            "train.epochs": 20,
            "task.beam": 1,
        },
    )


def signs_recipe(folders: Folders) -> OfRecipe:
    """Signs in folders, and pairs of others."""
    trees.sign_folders(folders.scratch)
    return small_embedder(folders)


def small_embedder(folders: Folders) -> OfRecipe:
    """The recipe of such folders, for small pictures; signs are not mirrored."""
    augment = [{"rotate": {"degrees": 5}}, {"translate": {"fraction": 0.06}}]
    return OfRecipe(
        "pairs_arcface",
        {
            "data.root": str(folders.scratch),
            "data.size": [32, 32],
            "data.augment": augment,
            "model.width": 16,
            "model.grid": 1,
            "task.dim": 64,
            "train.batch": 16,
            "train.epochs": 20,
        },
    )


FOLDER = Case(
    "folder_of_textures", textures_recipe, "generated textures", "resnet18 of 16", "the shipped recipe at a small size"
)
DIGITS = Case("folder_of_digits", digits_recipe, "mnist", "resnet18 of 16", "no mirror; one channel", needs=("mnist",))
INSECTS = Case(
    "folder_of_insects",
    insects_recipe,
    "hymenoptera",
    "EfficientNet-Lite0",
    "trained weights with their own mean",
    needs=("hymenoptera",),
)
SCENES = Case(
    "folder_of_scenes", scenes_recipe, "generated scenes", "U-Net on resnet18 of 16", "masks of palette-free PNG"
)
PAIRS = Case("folder_of_pairs", pairs_recipe, "generated leaves", "U-Net of 8", "noise is in the files")
FIGURES = Case(
    "figures_of_the_package", figures_recipe, "generated stick figures", "Simple Baselines on resnet18 of 16", "no data"
)
BOXES = Case(
    "table_of_boxes", boxes_recipe, "generated ellipses", "localizer on resnet18 of 16", "corners in pixels, one thing"
)
CAPTIONS = Case(
    "table_of_sentences", captions_recipe, "generated shapes", "LSTM with attention", "a small vocabulary, from scratch"
)
SIGNS = Case(
    "folders_of_signs",
    signs_recipe,
    "generated signs",
    "embedder on resnet18 of 16",
    "pairs of signs that are not learned",
)
HEALTHY = (FOLDER, DIGITS, INSECTS, SCENES, PAIRS, FIGURES, BOXES, CAPTIONS, SIGNS)


def value(of: Case, name: str, cause: str, source: str, *, also: tuple[str, ...] = (), **overrides: object) -> Case:
    """A case whose mistake is in the values of the recipe."""
    return planted(of, name, cause, lambda folders: rerouted(of.make(folders), **overrides), source, also=also)


CASES = (
    value(FOLDER, "recipe_rate_of_five", "optim.rate_high", "a decimal point is lost", train__lr=5.0),
    value(
        FOLDER,
        "recipe_rate_for_fine_tuning",
        "optim.rate_low",
        "a rate for trained weights, from scratch",
        train__lr=5e-5,
    ),
    value(
        FOLDER,
        "recipe_clips_to_a_thousandth",
        "optim.always_clipped",
        "a limit of gradients that were divided",
        train__clip_norm=0.001,
    ),
    value(
        FOLDER,
        "recipe_momentum_of_keras",
        "norm.slow_momentum",
        "lukemelas/EfficientNet-PyTorch#3 has 1 - 0.999",
        train__norm_momentum=0.001,
        train__ema=None,
    ),
    value(
        FOLDER,
        "recipe_freezes_what_is_not_trained",
        "norm.frozen",
        "a recipe of trained weights, without them",
        model__frozen=["backbone"],
    ),
    value(
        FOLDER,
        "recipe_decay_of_a_half",
        "optim.decay_on_norms",
        "Loshchilov and Hutter 2019: AdamW's decay is no decay for SGD",
        train__weight_decay=0.5,
        train__decay_norms=True,
    ),
    value(
        FOLDER,
        "recipe_ends_its_schedule_early",
        "optim.schedule",
        "milestones of a run of five epochs in one of twelve",
        train__schedule="step",
        train__milestones=[1, 2, 3],
    ),
    value(
        FOLDER,
        "recipe_batches_of_two",
        "norm.small_batch",
        "memory; Wu and He 2018, figure 1",
        train__batch=2,
        train__lr=0.003,
    ),
    value(
        FOLDER,
        "recipe_crops_of_a_thousandth",
        "augment.too_strong",
        "area is taken as the part that is cut away",
        data__augment=[{"resized_crop": {"area": [0.002, 0.01]}}, {"erasing": {"p": 1.0}}],
    ),
    value(
        DIGITS,
        "recipe_mirrors_digits",
        "augment.changes_meaning",
        "the shipped recipe for photographs; chrischute/real-nvp#5",
        data__augment=[{"translate": {"fraction": 0.08}}, {"flip": {}}, {"turn": {}}],
    ),
    value(
        INSECTS, "recipe_blue_first", "data.channel_order", "jwyang/faster-rcnn.pytorch#263", data__color_order="bgr"
    ),
    value(
        INSECTS,
        "recipe_values_up_to_255",
        "data.value_range",
        "a range of Caffe's weights for others",
        data__value_range=[0.0, 255.0],
        data__mean=[0.498, 0.498, 0.498],
        data__std=[0.502, 0.502, 0.502],
    ),
    value(
        INSECTS,
        "recipe_without_mean",
        "data.normalization",
        "mean and deviation are left at 0 and 1",
        data__mean=[0.0, 0.0, 0.0],
        data__std=[1.0, 1.0, 1.0],
    ),
    value(
        SCENES,
        "recipe_weights_inverted",
        "loss.weights_inverted",
        "shares of the classes in place of their inverse",
        task__class_weights=[2.5, 0.2, 0.2],
    ),
    value(FIGURES, "recipe_without_pairs", "augment.pairs_not_swapped", "talmolab/sleap#455", data__flip_pairs=[]),
)
