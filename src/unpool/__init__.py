"""Convolutional networks without silent mistakes.

The verbs of the command line as functions. Each is imported when it is first asked for, so that `import unpool` costs
nothing, imports no torch and changes nothing. It imports nothing at all, since a Ctrl-C until the program handles
signals ends in a traceback.
"""

TYPE_CHECKING = False  # as a type checker takes it; that of `typing` takes as long to import as Python to start
if TYPE_CHECKING:
    from unpool.checking import check
    from unpool.convert import deepen, dilate, fold_batch_norm, fully_convolutional
    from unpool.inspection.layer_table import summary
    from unpool.models import build, names
    from unpool.predictor import load
    from unpool.predictor.dense import show_dense
    from unpool.predictor.people import enroll, identify, verify
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
    "show_dense",
    "summary",
    "train",
    "transfer_advice",
    "verify",
]

_SOURCES = {
    "DataInfo": "unpool.types",
    "build": "unpool.models",
    "check": "unpool.checking",
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
    "show_dense": "unpool.predictor.dense",
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
