"""Nothing outside of `tasks/` and `metrics/` names a task or a metric; what a task is asked for stands in `task.py`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from unpool import tasks
from unpool.ops.preprocessing import Preprocessing
from unpool.tasks import TASKS
from unpool.types import BATCH_KEYS, DataInfo

SRC = Path(__file__).parents[1] / "src" / "unpool"
# R-CNN's second step is a part of detection; it joins networks with a task, which never import one another
OF_TASKS = ("tasks", "metrics", "region_fitting.py")
FILES = [path for path in sorted(SRC.rglob("*.py")) if path.relative_to(SRC).parts[0] not in OF_TASKS]
# what may be imported from `tasks`: the table, the task of published weights, and the kinds that answer in tiles, are
# averaged, or are compared
DOORS = {"TASKS", "published_task", "Maps", "OneForward", "Vectors"}

# (file, name): why it is no task and no metric; five at most
OTHERS = {
    ("data/readers/coco_regions.py", "segmentation"): "a key of COCO's files",
    ("models/torchvision_names.py", "classification"): "a part of the names of torchvision's weights",
    ("screen.py", "reading"): "of images",
    ("finishing.py", "precision"): "of the numbers in training",
    ("report/facts.py", "precision"): "the same, in metrics.json",
}


def names() -> set[str]:
    """Names of the tasks, and of all metrics that they count or describe, but for keys of batches and of `DataInfo`."""
    joints = ("left_shoulder", "right_hip")
    info = DataInfo(classes=tuple("abcdefg"), words=("a", "dog"), keypoints=joints, limbs=((0, 1),))
    found = set(TASKS)
    for name in TASKS:
        channels = 3 * TASKS[name].frames
        sees = Preprocessing(channels=channels, mean=channels * (0.5,), std=channels * (0.25,))
        task = tasks.build(name, info, options={}, preprocessing=sees)
        found |= {task.best, *task.described, *task.metric().compute()}
    return found - set(BATCH_KEYS) - set(DataInfo.__dataclass_fields__)


NAMES = names()


def leaks(source: str) -> Iterator[str]:
    """Names of tasks and metrics among the texts of the source, docstrings left out, and imports of single tasks."""
    tree = ast.parse(source)
    said = {id(text) for node in ast.walk(tree) if (text := _docstring(node)) is not None}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES and id(node) not in said:
            yield str(node.value)
        elif isinstance(node, ast.ImportFrom):
            yield from _imports(node.module or "", [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _imports(alias.name, [])


def _docstring(node: ast.AST) -> ast.expr | None:
    """The expression that is the docstring of a module, class or function; also of a field."""
    return node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None


def _imports(module: str, imported: list[str]) -> Iterator[str]:
    if (
        module == "unpool.metrics"
        or module.startswith(("unpool.metrics.", "unpool.tasks."))
        or module == "unpool.tasks"
    ):
        yield from (f"{module}.{name}" for name in imported if name not in DOORS)
        if not imported:
            yield module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_nothing_outside_of_tasks_names_a_task_or_a_metric(path):
    file = path.relative_to(SRC).as_posix()
    assert [name for name in leaks(path.read_text(encoding="utf-8")) if (file, name) not in OTHERS] == []


def test_what_only_looks_like_a_task_stays_short_and_is_there():
    assert len(OTHERS) <= 5
    for file, name in OTHERS:
        assert name in list(leaks((SRC / file).read_text(encoding="utf-8")))


def test_names_hold_every_task_and_metric_that_is_known():
    assert set(TASKS) - set(BATCH_KEYS) < NAMES
    assert {"top1", "mean_iou", "confusion", "psnr", "pck@0.2", "oks_ap", "limbs_precision"} < NAMES


@pytest.mark.parametrize(
    "line",
    [
        "if recipe.task.name == 'segmentation': pass",
        "value = metrics['mean_iou']",
        "def f():\n    '''A function.'''\n    return {'psnr': 1}",
        "from unpool.tasks.segmentation import Segmentation",
        "from unpool.tasks import Segmentation",
        "import unpool.tasks.segmentation",
        "from unpool.metrics.segmentation import MaskScores",
        "match name:\n    case 'denoising': pass",
    ],
)
def test_every_form_of_a_leak_is_seen(line):
    assert list(leaks(line))


@pytest.mark.parametrize(
    "line", ["'''segmentation'''", "from unpool.tasks import TASKS", "from unpool import tasks", "x = batch['people']"]
)
def test_what_is_no_leak_is_let_through(line):
    assert list(leaks(line)) == []
