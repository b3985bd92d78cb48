"""Checks names and options of a recipe against the tables of readers, augmentations, networks and tasks.

The tables import torch, so each is imported inside the function that needs it.
"""

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len

from unpool.errors import RecipeError, quoted
from unpool.limits import SHARE
from unpool.network_names import OUTPUTS, listed_networks
from unpool.recipe.keywords import DERIVED, Option, Rows, is_finite, misfits, options_of
from unpool.recipe.mistakes import Mistake, nearest, shown
from unpool.recipe.settings import Model, Recipe
from unpool.recipe.table_rows import check_rows

_SHOWN = 5  # networks that fit a task
PLANNED = "planned"  # model.anchors: by the boxes of the training set, see `assemble.anchors`


def check_options(recipe: Recipe) -> list[Mistake]:
    """Returns a mistake for every name that is in no table and every option that its row does not take."""
    from unpool.data.readers import READERS
    from unpool.tasks import TASKS

    return [
        *check_data(recipe, {name: options_of(row, DERIVED["data"]) for name, row in READERS.items()}),
        *check_rows(recipe),
        *_check_model(recipe.model),
        *check_task(recipe, {name: options_of(row, DERIVED["task"]) for name, row in TASKS.items()}),
        *_check_output(recipe),
    ]


def check_network(name: str, options: Mapping[str, Any]) -> None:
    """Raises if `models.build` would refuse a network's name or options.

    Args:
        name: of the network.
        options: without num_classes and in_channels; `backbone` is one of them.

    Raises:
        RecipeError: the message describes the first mistake.
    """
    backbone = options.get("backbone")
    if backbone is not None and not isinstance(backbone, str):
        raise RecipeError(f"backbone is {shown(backbone)}; it must be a name")
    if "name" in options:
        raise RecipeError("the network's name is an argument already; leave name=... out")
    for option in {"weights", "new_head", "init"} & set(options):
        raise RecipeError(f"{option} changes nothing about the shape of a network; leave {option}=... out")
    unlimited = Model.model_construct(**{**options, "name": name})  # a name of any length is one that no table has
    for mistake in _check_model(unlimited):
        raise RecipeError(mistake.text)


def fill_options(recipe: Recipe) -> Recipe:
    """Returns the recipe with the default of every option that it leaves out.

    Options of the network that published weights need, such as `align` of "voc", are theirs. Defaults that YAML cannot
    express stay left out, and so does None.

    Args:
        recipe: for which `check_options` returned no mistake.
    """
    from unpool.data.augment import AUGMENTATIONS
    from unpool.data.order import ORDERS
    from unpool.data.proposals import PROPOSERS
    from unpool.data.readers import READERS
    from unpool.layers.initializations import INITS
    from unpool.models.pretrained import OPTIONS
    from unpool.tasks import TASKS

    data, model, task = recipe.data, recipe.model, recipe.task
    steps = [{name: _filled(options, options_of(AUGMENTATIONS[name]))} for name, options in data.steps]
    known = {
        "data": options_of(READERS[data.reader], DERIVED["data"]),
        "model": model_options(model.name, model.backbone),
        "task": options_of(TASKS[task.name], DERIVED["task"]),
    }
    tree = recipe.model_dump(mode="json")
    for section, options in known.items():
        tree[section] = {**tree[section], **_filled({}, options), **tree[section]}
    tree["model"] = {**tree["model"], **OPTIONS.get(str(model.weights), {}), **model.options}
    tree["data"]["augment"] = steps
    if data.proposals is not None:
        tree["data"]["proposals"] = {
            name: _filled(options, options_of(PROPOSERS[name])) for name, options in data.proposals.items()
        }
    tree["data"]["order"] = {name: _filled(options, options_of(ORDERS[name])) for name, options in data.order.items()}
    if model.init is not None:
        tree["model"]["init"] = {
            name: _filled(options, options_of(INITS[name])) for name, options in model.init.items()
        }
    tree["model"]["backbone"] = model.backbone or _published_backbone(model.name)
    return Recipe.model_validate_json(json.dumps(tree))


def model_options(name: str, backbone: str | None) -> dict[str, Option]:
    """Returns the options of a network and, if it is composed, of its backbone.

    Args:
        name: of the network.
        backbone: of a composed network; None for that of its row.

    Raises:
        RecipeError: a name is in no table.
    """
    from unpool.models import backbone_row_of, known_options, row_of
    from unpool.models.exchanging import Norms, exchange

    known = known_options(name, backbone=backbone)
    rows = [row_of(name)]
    if rows[0].kind == "composed" and (chosen := backbone or rows[0].backbone):
        rows.append(backbone_row_of(chosen))
    kinds = {key: option.kind for row in reversed(rows) for key, option in options_of(row.build).items()}
    shared = {key: option.kind for key, option in options_of(exchange).items()}
    kinds = {**shared, **kinds, "norms": kinds["norms"] | Norms if "norms" in kinds else shared["norms"]}
    return {key: Option(_limited(key, kinds.get(key, Any)), default) for key, default in known.items()}


def _limited(name: str, kind: Any) -> Any:
    """The annotation of a network's option with the limits that `models.build` sets by its kind."""
    from unpool.models.catalog import MOST, MOST_ITEMS, MOST_OF

    count = Annotated[int, Interval(ge=1, le=MOST_OF.get(name, MOST))]
    if name == "anchors":
        return Literal["planned"] | Annotated[Sequence[count], Len(0, MOST_ITEMS)]
    kinds = {int: count, float: Annotated[float, SHARE], Sequence[int]: Annotated[Sequence[count], Len(0, MOST_ITEMS)]}
    return kinds.get(kind, kind) if isinstance(kind, Hashable) else kind


def check_data(recipe: Recipe, readers: Rows) -> Iterator[Mistake]:
    """An unknown reader, or options that it does not take; `readers` has the options of each."""
    name = recipe.data.reader
    if name not in readers:
        yield Mistake(("data", "reader"), f"no reader is called {quoted(name)}{nearest(name, readers)}")
        return
    fields = list(type(recipe.data).model_fields)
    yield from misfits(("data",), f"data (reader {quoted(name)})", recipe.data.options, readers[name], extra=fields)


def _check_model(model: Model) -> Iterator[Mistake]:
    from unpool.models import pretrained, row_of

    key = "name"
    try:
        row = row_of(model.name)
        key = "backbone"
        known = model_options(model.name, model.backbone)
    except RecipeError as error:
        yield Mistake(("model", key), str(error))
        return
    if model.backbone is not None and row.kind != "composed":
        yield Mistake(
            ("model", "backbone"), f"{model.name} is complete and takes no backbone; leave model.backbone out"
        )
        return
    try:
        pretrained.check(model.name, row, backbone=model.backbone, weights=model.weights, new_head=model.new_head)
    except RecipeError as error:
        yield Mistake(("model", "weights"), str(error))
    if model.options.get("norms") == "group" and model.weights in pretrained.WORDS:
        yield Mistake(
            ("model", "norms"),
            f"model.norms is group, and the weights {quoted(model.weights)} were trained with batch norms: leave one "
            "of the two out",
        )
    yield from check_model(model, known)


def check_model(model: Model, known: Mapping[str, Option]) -> Iterator[Mistake]:
    """Options that are none of the `known` ones of its network."""
    fields = list(type(model).model_fields)
    yield from misfits(("model",), f"model ({quoted(model.name)})", model.options, known, extra=fields)


def check_task(recipe: Recipe, tasks: Rows) -> Iterator[Mistake]:
    """An unknown task, or options that it does not take; `tasks` has the options of each."""
    name = recipe.task.name
    if name not in tasks:
        yield Mistake(("task", "name"), f"no task is called {quoted(name)}{nearest(name, tasks)}")
        return
    yield from misfits(("task",), f"task ({quoted(name)})", recipe.task.options, tasks[name], extra=("name",))


def _check_output(recipe: Recipe) -> Iterator[Mistake]:
    """A network whose kind of output the task cannot learn from; both names are in their tables, or nothing is said."""
    from unpool.models import row_of
    from unpool.tasks import TASKS

    name, task = recipe.model.name, recipe.task.name
    try:
        gives, takes = row_of(name).gives, TASKS[task].takes if task in TASKS else ()
    except RecipeError:
        return
    yield from check_output(recipe, gives=gives, takes=takes)


def check_output(recipe: Recipe, *, gives: str, takes: Sequence[str]) -> Iterator[Mistake]:
    """A network that gives what is not among the kinds of output that the task takes; no kind where any will do."""
    if takes and gives not in takes:
        name, task = recipe.model.name, recipe.task.name
        networks = listed_networks().values()
        kin = sorted((one for one in networks if one.gives in takes), key=lambda one: one.task != task)
        fitting = [one.name for one in kin]
        wanted = " or ".join(OUTPUTS[kind] for kind in takes)
        text = f"model {quoted(name)} gives {OUTPUTS[gives]}, and task {quoted(task)} learns from {wanted}"
        more = f", and {len(fitting) - _SHOWN} more that `unpool models` lists" if len(fitting) > _SHOWN else ""
        yield Mistake(("model", "name"), f"{text}; networks that fit: {', '.join(fitting[:_SHOWN])}{more}")


def _filled(options: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    return {**{key: option.default for key, option in known.items() if _is_expressible(option.default)}, **options}


def _is_expressible(default: Any) -> bool:
    if isinstance(default, list | tuple):
        return all(map(_is_expressible, default))
    return isinstance(default, bool | int | float | str) and is_finite(default)


def _published_backbone(name: str) -> str | None:
    from unpool.models import row_of

    row = row_of(name)
    return row.backbone if row.kind == "composed" else None
