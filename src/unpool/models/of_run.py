"""What config.json beside a file of weights says of the network that the weights were trained in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.errors import ModelFileError
from unpool.manifest import NAME, look_up, read_bound
from unpool.models.fitting import Destination, Fit

# the first is compared before; the others change no answer of a trained network, but for forms of dropout that scale
_ALIKE = {"backbone", "dropout", "stochastic_depth", "kept_blocks"}


def run_config(path: Path) -> dict[str, Any]:
    """Returns what config.json beside a file of weights holds; empty where it is no file of a run."""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and isinstance(config.get("network"), dict) else {}


def refuse_changed(path: Path) -> None:
    """Checks a file of weights that lies in the folder of a run.

    Raises:
        ModelFileError: the run wrote a file of this name, and not with this content.
    """
    if run_config(path) and (path.parent / NAME).is_file():
        lookup = look_up(path)
        if path.name in lookup.manifest.sums and not lookup.is_listed:
            read_bound(path)


def refuse_other_run(path: Path, destination: Destination, fit: Fit) -> None:
    """Checks what shapes do not show: that the file's run trained the network that is to get the weights.

    Raises:
        ModelFileError: the run says that its network, its backbone or one of its options is another one.
    """
    config = run_config(path)
    network = config.get("network")
    if not network or "model" in config.get("custom", ()):  # of a network of the caller's no more than shapes is known
        return
    if fit.goal.part:
        theirs, ours = network.get("backbone") or network.get("name"), destination.backbone_name
        differs = theirs != ours and not fit.position
    else:
        theirs, rows = network.get("name"), fit.goal.of or (destination.name,)
        ours, differs = rows[0], theirs not in rows
    if theirs and differs:
        raise ModelFileError(
            f"{path} was saved from {theirs}, and this is {ours}: their tensors have the same names and shapes, and "
            f"are used differently; choose {theirs}"
        )
    differing = {} if fit.goal.part or theirs not in (None, destination.name) else _differing(network, destination)
    if differing:
        text = "; ".join(f"{key} {theirs}, not {ours}" for key, (theirs, ours) in differing.items())
        settings = " ".join(f"model.{key}={_value(theirs)}" for key, (theirs, _) in differing.items())
        raise ModelFileError(
            f"{path} was trained with {text}: the tensors fit and the answers would be others. Set {settings} (in "
            "Python, the arguments of these names); to start from the weights nonetheless, copy the file to a folder "
            "without that config.json"
        )


def _differing(network: Mapping[str, Any], destination: Destination) -> dict[str, tuple[Any, Any]]:
    """The backbone of the run and ours if they differ; else the options that do, with defaults for those left out."""
    backbone = network.get("backbone") or destination.defaults.get("backbone")
    if backbone and backbone != destination.backbone_name:
        return {"backbone": (backbone, destination.backbone_name)}
    options = network.get("options")
    if not isinstance(options, dict):
        return {}
    theirs, ours = _plain({**destination.defaults, **options}), _plain(destination.settings)
    alike = set(_ALIKE)
    if any(one.get("dropout_form") in ("original", "connect") for one in (theirs, ours)):
        alike.discard("dropout")  # these scale by the share kept, in every answer
    return {key: (value, ours.get(key)) for key, value in theirs.items() if key not in alike and value != ours.get(key)}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _value(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).strip('"')
