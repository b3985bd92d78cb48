"""`unpool models`: the networks, with their size and source."""

from argparse import Namespace
from typing import Any

from unpool.cli.console import flush, library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.parser import Parser
from unpool.errors import EnvironmentFault, RecipeError, quoted, shortened

ABOUT = "list the networks: task, weights, parameters, multiply-adds, source"
DETAILS = """A terminal gets as many columns as fit; a pipe and --json get all. Counts are of
the published network: see its default input and classes in --json.
examples: unpool models 'fcn*'
          unpool models 'timm/*' --probe   which can be backbones, and why not
          unpool models 'timm/convnext*' --probe --json"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("models", ABOUT, details=DETAILS)
    verb.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN", help="part of a name, or with * and ?; timm/...; a task"
    )
    other = verb.add_mutually_exclusive_group()
    other.add_argument(
        "--probe",
        action="store_true",
        help="list which of timm's networks can be a backbone, the others with the reason",
    )
    other.add_argument("--count", action="store_true", help="count each network again; exit code 1 if one differs")
    other.add_argument("--misprints", action="store_true", help="list published figures that are known to be wrong")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the networks that the arguments ask for; returns 1 if `--count` finds a wrong count, else 0."""
    from unpool.models import names

    if values.misprints:
        return _misprints(values.pattern, as_json=values.json)
    matches = _of_task(values.pattern) or names(values.pattern)
    if not matches:
        raise RecipeError(_nothing_fits(values.pattern))
    if values.probe:
        return _probe(values.pattern, matches, as_json=values.json)
    if values.count:
        return _count(matches, as_json=values.json)
    if values.json:
        write_json({"models": [_row(name) for name in matches]})
    else:
        heads = ("name", "task", "weights", "parameters", "GMACs", "source")
        write_table([heads, *(_cells(_row(name)) for name in matches)])
    return 0


def _of_task(task: str) -> list[str]:
    """The networks that were made for a task; of one that is a kind of another, such as people, those that fit it."""
    from unpool.models import AREAS, MODELS
    from unpool.tasks import TASKS

    takes = TASKS[task].takes if task in TASKS else ()
    return list(AREAS.get(task, ())) or [name for name, row in MODELS.items() if row.gives in takes]


def _nothing_fits(pattern: str) -> str:
    """What to look for where no network fits: the nearest name, and timm's networks."""
    from unpool.models import MODELS, timm_backbone
    from unpool.recipe.mistakes import nearest

    near = nearest(pattern, MODELS)
    text = f"no network fits {quoted(pattern)}{near if 'did you mean' in near else '; `unpool models` lists all'}"
    theirs = f"{timm_backbone.PREFIX}*{pattern.strip('*')}*"
    if pattern.startswith(timm_backbone.PREFIX):
        return text
    try:
        count = len(timm_backbone.names(theirs))
    except EnvironmentFault:  # it is not installed
        return f"{text}; timm has more: pip install 'unpool[timm]', then unpool models 'timm/*'"
    return f"{text}; timm has {count}: unpool models {shortened(repr(theirs))}" if count else text


def _probe(pattern: str, names: list[str], *, as_json: bool) -> int:
    """Writes one line per network as soon as it is probed; with --json, all together."""
    from unpool.models.timm_backbone import PREFIX

    if not pattern.startswith(PREFIX):
        raise RecipeError(
            f"--probe is for timm's networks: give a pattern like '{PREFIX}resnet*' instead of {quoted(pattern)}"
        )
    if as_json:
        write_json({"models": [_probed(name) for name in names]})
        return 0
    width = max(map(len, names))
    for name in names:
        one = _probed(name)
        line = "pass  channels {channels}, strides {strides}" if one["passes"] else "no    {reason}"
        write_result(f"{name:{width}}  {line.format(**one)}")
        flush()
    return 0


def _probed(name: str) -> dict[str, Any]:
    from unpool.models.timm_backbone import probe

    try:
        with library_output_to_stderr():
            backbone = probe(name)
    except RecipeError as error:
        reason = str(error).partition("backbone: ")[2] or str(error)
        return {"name": name, "passes": False, "channels": None, "strides": None, "reason": reason}
    channels, strides = list(backbone.channels), list(backbone.strides)
    return {"name": name, "passes": True, "channels": channels, "strides": strides, "reason": None}


def _row(name: str) -> dict[str, Any]:
    from unpool.models import area_of, row_of
    from unpool.models.pretrained import words_of

    row = row_of(name)
    return {
        "name": name,
        "task": area_of(name),
        "weights": list(words_of(name)),
        "kind": row.kind,
        "params": row.params,
        "gmacs": row.gmacs,
        "input": list(row.input),
        "output": list(row.output),
        "classes": row.classes,
        "backbone": row.backbone if row.kind == "composed" else None,
        "options": sorted(row.options()),
        "source": row.source,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    gmacs = "-" if row["gmacs"] is None else f"{row['gmacs']:.2f}"
    params = "-" if row["params"] is None else f"{row['params']:,}"
    weights = " ".join(row["weights"]) or "-"
    return row["name"], row["task"], weights, f"{params:>13}", f"{gmacs:>7}", row["source"]


def _count(names: list[str], *, as_json: bool) -> int:
    from unpool.inspection.catalogue import count
    from unpool.models import MODELS

    if foreign := [name for name in names if name not in MODELS]:
        raise RecipeError(
            f"--count is for networks with a published count, and {foreign[0]} has none here: leave it out"
        )
    with library_output_to_stderr():
        counted = [count(name) for name in names]
    if as_json:
        write_json({"models": [one.to_json() for one in counted]})
    else:
        heads = ("name", "parameters", "published", "output", "GMACs", "published", "verdict")
        write_table([heads, *(one.cells() for one in counted)])
    return int(any(one.wrong for one in counted))


def _misprints(pattern: str, *, as_json: bool) -> int:
    from unpool.inspection.misprints import find_misprints

    matches = find_misprints(pattern)
    if not matches:
        raise RecipeError(f"no misprint is about {quoted(pattern)}; `unpool models --misprints` lists all")
    if as_json:
        write_json({"misprints": [one._asdict() for one in matches]})
    else:
        for one in matches:
            write_result(f"{one.about}\n  printed   {one.claim}\n  true      {one.truth}\n  evidence  {one.evidence}")
    return 0
