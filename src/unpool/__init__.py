"""Convolutional networks without silent mistakes.

The verbs of the command line as functions. Each is imported when it is first asked for, so that `import unpool` costs
nothing, imports no torch and changes nothing. It imports nothing at all, since a Ctrl-C until the program handles
signals ends in a traceback.
"""

TYPE_CHECKING = False  # as a type checker takes it; that of `typing` takes as long to import as Python to start
if TYPE_CHECKING:
    from unpool.assemble.anchors import show_anchors
    from unpool.assemble.augmented import show_augment
    from unpool.assemble.signals import show_init
    from unpool.checking import check
    from unpool.comparing import compare
    from unpool.convert import deepen, dilate, fold_batch_norm, fully_convolutional
    from unpool.error_view import show_errors
    from unpool.inspection.arithmetic import show_arithmetic
    from unpool.inspection.filters import show_filters
    from unpool.inspection.layer_table import summary
    from unpool.inspection.upsampling_view import show_upsampling
    from unpool.lesioning import show_lesion
    from unpool.models import build, names
    from unpool.predictor import load
    from unpool.predictor.attributions import show_attribution
    from unpool.predictor.dense import show_dense
    from unpool.predictor.dreams import show_dream
    from unpool.predictor.effective import show_field
    from unpool.predictor.feature_maps import show_features
    from unpool.predictor.people import enroll, identify, verify
    from unpool.predictor.reconstructions import show_deconvnet
    from unpool.predictor.story import show_story
    from unpool.probing import features, probe
    from unpool.recipe import load_recipe, recipe_names
    from unpool.recipe.transfer import transfer_advice
    from unpool.run import evaluate, predict, resume, train
    from unpool.types import DataInfo

__version__ = "0.1.0"

__all__ = [
    "DataInfo",
    "build",
    "check",
    "compare",
    "deepen",
    "dilate",
    "enroll",
    "evaluate",
    "features",
    "fold_batch_norm",
    "fully_convolutional",
    "identify",
    "load",
    "load_recipe",
    "names",
    "predict",
    "probe",
    "recipe_names",
    "resume",
    "show_anchors",
    "show_arithmetic",
    "show_attribution",
    "show_augment",
    "show_deconvnet",
    "show_dense",
    "show_dream",
    "show_errors",
    "show_features",
    "show_field",
    "show_filters",
    "show_init",
    "show_lesion",
    "show_story",
    "show_upsampling",
    "summary",
    "train",
    "transfer_advice",
    "verify",
]

_SOURCES = {
    "DataInfo": "unpool.types",
    "build": "unpool.models",
    "check": "unpool.checking",
    "compare": "unpool.comparing",
    "deepen": "unpool.convert",
    "dilate": "unpool.convert",
    "enroll": "unpool.predictor.people",
    "evaluate": "unpool.run",
    "features": "unpool.probing",
    "fold_batch_norm": "unpool.convert",
    "fully_convolutional": "unpool.convert",
    "identify": "unpool.predictor.people",
    "load": "unpool.predictor",
    "load_recipe": "unpool.recipe",
    "names": "unpool.models",
    "predict": "unpool.run",
    "probe": "unpool.probing",
    "recipe_names": "unpool.recipe",
    "resume": "unpool.run",
    "show_anchors": "unpool.assemble.anchors",
    "show_arithmetic": "unpool.inspection.arithmetic",
    "show_attribution": "unpool.predictor.attributions",
    "show_augment": "unpool.assemble.augmented",
    "show_deconvnet": "unpool.predictor.reconstructions",
    "show_dense": "unpool.predictor.dense",
    "show_dream": "unpool.predictor.dreams",
    "show_errors": "unpool.error_view",
    "show_features": "unpool.predictor.feature_maps",
    "show_field": "unpool.predictor.effective",
    "show_filters": "unpool.inspection.filters",
    "show_init": "unpool.assemble.signals",
    "show_lesion": "unpool.lesioning",
    "show_story": "unpool.predictor.story",
    "show_upsampling": "unpool.inspection.upsampling_view",
    "summary": "unpool.inspection.layer_table",
    "train": "unpool.run",
    "transfer_advice": "unpool.recipe.transfer",
    "verify": "unpool.predictor.people",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _SOURCES:
        raise AttributeError(f"module 'unpool' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return vars(import_module(_SOURCES[name]))[name]


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
