"""The recipe of a run, which is the one that the run wrote; what may change when the run is resumed."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.errors import ModelFileError, RecipeError
from unpool.manifest import look_up
from unpool.recipe.overrides import Overrides
from unpool.recipe.reading import load_recipe
from unpool.recipe.settings import Recipe

NAME = "recipe.yaml"
# by an override; all else is that of the run's first step. Workers, memory and time limit change no result
RESUMABLE = (
    *("data.root", "data.memory", "data.workers"),
    *("train.epochs", "train.device", "train.time_limit_s", "train.processes"),
)
_OF_A_MACHINE = {*RESUMABLE, "train.threads"} - {"train.epochs"}
_SHOWN = 100  # characters of a value
_log = logging.getLogger(__name__)


def check_recipe(run: Path) -> None:
    """Compares recipe.yaml of a run with the values that the run began with; spelling and comments may differ.

    Raises:
        ModelFileError: values differ, all of which are listed; the file is missing or damaged, or manifest.json is.
    """
    data, manifest, is_listed = look_up(run / NAME)
    if is_listed and data is not None:
        return
    if data is None:
        raise ModelFileError(f"{run} holds no {NAME}: copy it from where it is whole")
    try:
        now = load_recipe(run / NAME).model_dump(mode="json")
    except RecipeError as error:
        raise ModelFileError(f"{run / NAME} was changed since the run wrote it, and cannot be read: {error}") from error
    if changes := _changes(manifest.recipe, now):
        raise ModelFileError(
            f"{run / NAME} was changed since the run wrote it: {'; '.join(changes)}. Put the values back, or start a "
            f"new run; {', '.join(RESUMABLE)} may be changed when a run is resumed: unpool train --resume {run} "
            "train.epochs=N"
        )


def load_run_recipe(run: Path, overrides: Overrides = (), *, only: tuple[str, ...] = ()) -> Recipe:
    """The recipe of a run, with the overrides; `only` those keys may have one.

    Raises:
        RecipeError: another key is overridden, or a value is wrong.
        ModelFileError: recipe.yaml is not as the run wrote it.
    """
    check_recipe(run)
    return load_recipe(run / NAME, overrides, only=only)


def resumed_recipe(run: Path, overrides: Overrides = ()) -> Recipe:
    """The recipe with which a run goes on; the log says what differs from before.

    Raises:
        RecipeError: a key not in `RESUMABLE` is overridden, or fewer epochs are asked for than before.
        ModelFileError: recipe.yaml is not as the run wrote it.
    """
    planned, recipe = load_run_recipe(run), load_run_recipe(run, overrides, only=RESUMABLE)
    if recipe.train.epochs < planned.train.epochs:
        raise RecipeError(
            f"train.epochs is {recipe.train.epochs} and the run was planned for {planned.train.epochs}; it can be "
            "raised only"
        )
    before, now = (_by_key(each.model_dump(mode="json")) for each in (planned, recipe))
    for key in RESUMABLE:
        if before[key] != now[key]:
            _log.info("%s: %s -> %s", key, _text(before[key]), _text(now[key]))
    return recipe


def settings_in_common(recipe: Recipe) -> dict[str, str]:
    """By dotted key, what several processes that train one run must all have."""
    flat = _by_key(recipe.model_dump(mode="json"))
    return {key: str(value) for key, value in flat.items() if key not in _OF_A_MACHINE}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _by_key(before), _by_key(now)
    return [
        f"{key} is {_text(new.get(key))} and was {_text(old.get(key))}"
        for key in (old | new)
        if old.get(key) != new.get(key)
    ]


def _by_key(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key."""
    flat = {}
    for section, values in recipe.items():
        flat |= {f"{section}.{key}": value for key, value in values.items()} if isinstance(values, dict) else {}
        flat |= {} if isinstance(values, dict) else {section: values}
    return flat


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
