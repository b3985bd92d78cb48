"""Loads a recipe by file, name or object and checks it, and writes one as text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from unpool.errors import EnvironmentFault, RecipeError, quoted, shortened
from unpool.recipe.exchange import without_options_of
from unpool.recipe.listed import early_mistakes
from unpool.recipe.mistakes import Mistake, mistakes_of, nearest
from unpool.recipe.options import check_options, fill_options
from unpool.recipe.overrides import Overrides, apply_overrides, parse_overrides
from unpool.recipe.settings import COLOURS, FORMAT, RGB_MEAN, Recipe, spell_out
from unpool.recipe.shipped import recipe_names, recipe_path
from unpool.recipe.yaml_text import line_of, read_yaml, write_yaml


def load_recipe(source: str | Path | Recipe, overrides: Overrides = (), *, only: Sequence[str] | None = None) -> Recipe:
    """Loads a recipe, checks it and fills in every default.

    Args:
        source: name of a shipped recipe, a file, or a recipe to change.
        overrides: `section.key=value` texts, or values by dotted key. Relative paths (`data.root`, a file in
            `model.weights`), here or in the recipe, are relative to the current directory.
        only: the keys that may be overridden; None allows all.

    Raises:
        RecipeError: the message lists every mistake, with its line and the nearest valid name if there is one.

    Example:
        >>> load_recipe("scenes_unet", ["train.lr=1e-3"]).train.lr
        0.001
    """
    recipe, sheet = _read_sections(source, overrides, only=only)
    recipe = without_options_of(sheet.backbone, recipe, sheet.overridden)
    if wrong := check_options(recipe):
        raise sheet.refusal(wrong)
    return fill_options(recipe)


def early_recipe(source: str | Path, overrides: Overrides = ()) -> Recipe:
    """Loads a recipe by the list of what the tables of readers, networks and tasks hold, and so without torch.

    Raises:
        RecipeError: as `load_recipe`, for all but values of the options of those tables, augmentations, noise and
            order, weights, timm's networks and backbones; and where the folder of the data set is left out.
    """
    recipe, sheet = _read_sections(source, overrides, with_tables=False)
    if wrong := list(early_mistakes(recipe)):
        raise sheet.refusal(wrong)
    return recipe


class _Sheet(NamedTuple):
    """Where a recipe was read: its name for messages, its text, the keys that overrides set, its backbone before."""

    where: str
    text: str
    overridden: Iterable[str]
    backbone: str | None

    def refusal(self, wrong: Sequence[Mistake]) -> RecipeError:
        """The error that lists all mistakes, each with its line."""
        lines = [f"{mistake.text}{_location(mistake.path, self.text, self.overridden)}" for mistake in wrong]
        if len(lines) == 1:
            return RecipeError(f"{self.where}: {lines[0]}")
        return RecipeError("\n  ".join([f"{self.where}: {len(lines)} mistakes", *lines]))


def _read_sections(
    source: str | Path | Recipe,
    overrides: Overrides,
    *,
    only: Sequence[str] | None = None,
    with_tables: bool = True,
) -> tuple[Recipe, _Sheet]:
    """The recipe with its keys and their kinds checked, the names and options of the tables not yet."""
    values = parse_overrides(overrides, only=only)
    if isinstance(source, Recipe):
        where, text, tree = "the recipe", "", source.model_dump(mode="json")
    else:
        path = _find(source)
        where, text = (path.name if isinstance(source, str) and source == path.stem else str(source)), _read(path)
        tree = read_yaml(text, where=where)
    if not isinstance(tree, dict):
        kind = "is empty" if tree is None else f"holds a {type(tree).__name__} at line 1, column 1"
        raise RecipeError(f"{where} {kind}; a recipe is a mapping with about, data, model, task and train")
    _refuse_newer(tree.get("format"), where)
    backbone = _backbone_of(tree)
    tree = _with_absolute_paths(apply_overrides(tree, values))
    tree = _with_colours_of_weights(tree) if with_tables else tree
    sheet = _Sheet(where, text, values, backbone)
    try:
        recipe = Recipe.model_validate_json(json.dumps(spell_out(tree), ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise RecipeError(f"{where}: {quoted(error.object[error.start :])} is no text; write names in UTF-8") from error
    except ValidationError as error:
        raise sheet.refusal(mistakes_of(error, Recipe)) from error
    return recipe, sheet


def _backbone_of(tree: Mapping[str, Any]) -> str | None:
    model = tree.get("model")
    backbone = model.get("backbone") if isinstance(model, dict) else None
    return backbone if isinstance(backbone, str) else None


def dump_recipe(recipe: Recipe) -> str:
    """Returns the recipe as YAML, from which `load_recipe` loads an equal recipe."""
    return write_yaml(recipe.model_dump(mode="json"))


def recipe_name(source: str | Path | Recipe) -> str:
    """Returns the name for runs of a recipe: the shipped name, the file's name without suffix, or "recipe"."""
    return "recipe" if isinstance(source, Recipe) else Path(source).stem


def _refuse_newer(version: Any, where: str) -> None:
    """A newer recipe may have keys of other meanings, so that no other mistake in it is worth a message."""
    if type(version) is int and version > FORMAT:
        raise RecipeError(
            f"{where} was made by a newer version of Unpool: it has format {quoted(version)}, and this version reads "
            f"{FORMAT}; update Unpool"
        )


def _find(source: str | Path) -> Path:
    if isinstance(source, str) and source in recipe_names():
        return recipe_path(source)
    path = Path(source)
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise RecipeError(f"{shortened(str(path))} is a folder; give a recipe's file or name, then data.root=DIR")
    except OSError as error:  # a name that is too long
        raise RecipeError(f"no recipe is called {quoted(str(source))}: {error.strerror}") from error
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise RecipeError(f"no recipe file {shortened(str(path))}; looked for {shortened(str(path.absolute()))}")
    raise RecipeError(f"no recipe is called {quoted(str(source))}, and no file{nearest(str(source), recipe_names())}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{shortened(str(path))} is not UTF-8 text at byte {error.start}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise RecipeError(f"cannot read {shortened(str(path))}: {error.strerror}") from error


def _with_absolute_paths(tree: dict[str, Any]) -> dict[str, Any]:
    for section, key in (("data", "root"), ("data", "mean_image"), ("model", "weights")):
        values = tree.get(section)
        path = values.get(key) if isinstance(values, dict) else None
        is_word = key == "weights" and not {".", "/", "\\"} & set(str(path))
        if not isinstance(path, str) or not path or is_word:
            continue
        try:
            tree = {**tree, section: {**values, key: str(Path(path).expanduser().absolute())}}  # type: ignore[dict-item]
        except RuntimeError as error:
            raise RecipeError(
                f"{section}.{key} is {quoted(path)}: {shortened(str(error))}; write the whole path"
            ) from error
    return tree


def _with_colours_of_weights(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with mean, std, order and range of published weights, where the recipe names none of them itself."""
    data, model = tree.get("data"), tree.get("model")
    if not isinstance(data, dict) or not isinstance(model, dict) or COLOURS & data.keys() or data.get("channels") == 1:
        return tree
    from unpool.models import colours_of

    name, backbone, weights = (model.get(key) for key in ("name", "backbone", "weights"))
    if not isinstance(name, str) or not isinstance(weights, str) or not isinstance(backbone, str | None):
        return tree
    try:
        colours = colours_of(name, backbone, weights)
    except (RecipeError, EnvironmentFault):  # the check of the whole recipe says so, beside its other mistakes
        return tree
    return tree if colours is None or colours["mean"] == RGB_MEAN else {**tree, "data": {**data, **colours}}


def _location(path: tuple[str | int, ...], text: str, overridden: Iterable[str]) -> str:
    if ".".join(map(str, path[:2])) in set(overridden):
        return " (in the override)"
    line = line_of(text, path)
    return f" (line {line})" if line else ""
