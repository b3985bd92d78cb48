"""Names and options of a recipe against the tables of readers, augmentations, networks and tasks.

The tables import torch, so each is imported where it is asked.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from unpool.errors import RecipeError
from unpool.recipe.mistakes import Mistake, allowed, nearest, shown, unknown_key
from unpool.recipe.settings import Model, Recipe

# filled in by `assemble` from other keys or from the data, so no options
GIVEN = {
    "data": {"channels": "write it as data.channels"},
    "model": {"num_classes": "it comes from the data", "in_channels": "it comes from data.channels"},
    "task": dict.fromkeys(("num_classes", "samples", "preprocessing"), "it comes from the data"),
}


class Option(NamedTuple):
    """One keyword of a constructor: its annotation, and its default or `Parameter.empty`."""

    kind: Any
    default: Any


def options_of(build: Callable[..., Any], given: Mapping[str, str] | None = None) -> dict[str, Option]:
    """The keyword-only arguments of a class or function, those in `given` left out."""
    parameters = signature(build, eval_str=True).parameters.values()
    return {
        p.name: Option(p.annotation, p.default)
        for p in parameters
        if p.kind is Parameter.KEYWORD_ONLY and p.name not in (given or {})
    }


def check_options(recipe: Recipe) -> list[Mistake]:
    """Every name that is in no table and every option that its row does not take."""
    return [
        *_check_data(recipe),
        *_check_augment(recipe),
        *_check_noise(recipe),
        *_check_model(recipe.model),
        *_check_task(recipe),
    ]


def check_network(name: str, options: Mapping[str, Any]) -> None:
    """Refuses what `models.build` would not take, num_classes and in_channels aside; `backbone` is one of the options.

    Raises:
        RecipeError: the first mistake.
    """
    backbone = options.get("backbone")
    if backbone is not None and not isinstance(backbone, str):
        raise RecipeError(f"backbone is {shown(backbone)}; it must be a name")
    if "name" in options:
        raise RecipeError("the network's name is given already; leave name=... out")
    if "weights" in options:
        raise RecipeError("weights change nothing about the shape of a network; leave weights=... out")
    for mistake in _check_model(Model(**{**options, "name": name})):
        raise RecipeError(mistake.text)


def fill_options(recipe: Recipe) -> Recipe:
    """The recipe with the default of every option written out; it must have passed `check_options`.

    Left out stay defaults of None, and those that no text can say.
    """
    from unpool.data.augment import AUGMENTATIONS
    from unpool.data.readers import READERS
    from unpool.tasks import TASKS

    data, model, task = recipe.data, recipe.model, recipe.task
    steps = [{name: _filled(options, options_of(AUGMENTATIONS[name]))} for name, options in data.steps]
    known = {
        "data": options_of(READERS[data.reader], GIVEN["data"]),
        "model": model_options(model.name, model.backbone),
        "task": options_of(TASKS[task.name], GIVEN["task"]),
    }
    tree = recipe.model_dump(mode="json")
    for section, options in known.items():
        tree[section] = {**tree[section], **_filled({}, options), **tree[section]}
    tree["data"]["augment"] = steps
    tree["model"]["backbone"] = model.backbone or _published_backbone(model.name)
    return Recipe.model_validate_json(json.dumps(tree))


def model_options(name: str, backbone: str | None) -> dict[str, Option]:
    """The options of a network, and those of the backbone it is composed on.

    Raises:
        RecipeError: a name in no table.
    """
    from unpool.models import backbone_row_of, known_options, row_of

    known = known_options(name, backbone=backbone)
    rows = [row_of(name)]
    if rows[0].kind == "composed" and (chosen := backbone or rows[0].backbone):
        rows.append(backbone_row_of(chosen))
    kinds = {key: option.kind for row in reversed(rows) for key, option in options_of(row.build).items()}
    return {key: Option(kinds.get(key, Any), default) for key, default in known.items()}


def _check_data(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.readers import READERS

    name = recipe.data.reader
    if name not in READERS:
        yield Mistake(("data", "reader"), f"no reader is called {name!r}{nearest(name, READERS)}")
        return
    known = options_of(READERS[name], GIVEN["data"])
    fields = [field for field in type(recipe.data).model_fields if field != "reader"]
    yield from _misfits(("data",), f"data (reader {name!r})", recipe.data.options, known, extra=fields)


def _check_augment(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.augment import AUGMENTATIONS

    for position, (name, options) in enumerate(recipe.data.steps):
        yield from _check_row(("data", "augment", position), "augmentation", name, options, rows=AUGMENTATIONS)


def _check_noise(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.noise import NOISES

    for name, options in (recipe.data.noise or {}).items():
        yield from _check_row(("data", "noise"), "noise", name, options, rows=NOISES)


def _check_row(
    path: tuple[str | int, ...],
    what: str,
    name: str,
    options: Mapping[str, Any],
    *,
    rows: Mapping[str, Callable[..., Any]],
) -> Iterator[Mistake]:
    if name not in rows:
        yield Mistake(path, f"no {what} is called {name!r}{nearest(name, rows)}")
        return
    wrong = list(_misfits((*path, name), f"{what} {name!r}", options, options_of(rows[name])))
    yield from wrong
    if not wrong:
        try:
            rows[name](**options)
        except (ValueError, TypeError) as error:  # also RecipeError
            yield Mistake((*path, name), f"{what} {name!r}: {error}")


def _check_model(model: Model) -> Iterator[Mistake]:
    from unpool.models import pretrained, row_of

    place = "name"
    try:
        row = row_of(model.name)
        place = "backbone"
        known = model_options(model.name, model.backbone)
    except RecipeError as error:
        yield Mistake(("model", place), str(error))
        return
    if model.backbone is not None and row.kind != "composed":
        yield Mistake(
            ("model", "backbone"), f"{model.name} is complete and takes no backbone; leave model.backbone out"
        )
        return
    try:
        pretrained.check(model.name, row, backbone=model.backbone, weights=model.weights)
    except RecipeError as error:
        yield Mistake(("model", "weights"), str(error))
    yield from _misfits(("model",), f"model ({model.name!r})", model.options, known, extra=("backbone", "weights"))


def _check_task(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.tasks import TASKS

    name = recipe.task.name
    if name not in TASKS:
        yield Mistake(("task", "name"), f"no task is called {name!r}{nearest(name, TASKS)}")
        return
    yield from _misfits(("task",), f"task ({name!r})", recipe.task.options, options_of(TASKS[name], GIVEN["task"]))


def _misfits(
    path: tuple[str | int, ...],
    what: str,
    options: Mapping[str, Any],
    known: Mapping[str, Option],
    *,
    extra: tuple[str, ...] | list[str] = (),
) -> Iterator[Mistake]:
    given = GIVEN.get(str(path[0]), {}) if len(path) == 1 else {}
    for key, value in options.items():
        if key in given:
            yield Mistake((*path, key), f"{what} takes no key {key!r}: {given[key]}")
        elif key not in known:
            yield Mistake((*path, key), unknown_key(what, key, [*known, *extra]))
        elif wanted := _misfit(known[key].kind, value):
            yield Mistake((*path, key), f"{what}: {key} is {shown(value)}; it must be {wanted}")
    for key, option in known.items():
        if option.default is Parameter.empty and key not in options:
            yield Mistake(path, f"{what} lacks {key!r}")


def _misfit(kind: Any, value: Any) -> str:
    """What the annotation wants in words; empty where the value fits."""
    if not _is_finite(value):
        return "finite"
    try:
        adapter = TypeAdapter(Any if kind is Parameter.empty else kind)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return ""  # an annotation of a class of its own: the constructor checks it
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        schema = adapter.json_schema()
        return allowed(schema, schema)
    return ""


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _filled(options: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    return {**{key: option.default for key, option in known.items() if _is_said(option.default)}, **options}


def _is_said(default: Any) -> bool:
    if isinstance(default, list | tuple):
        return all(map(_is_said, default))
    return isinstance(default, bool | int | float | str) and _is_finite(default)


def _published_backbone(name: str) -> str | None:
    from unpool.models import row_of

    row = row_of(name)
    return row.backbone if row.kind == "composed" else None
