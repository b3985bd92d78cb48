"""What initial weights make of a batch of the recipe's data: activations and gradients at each depth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unpool.assemble.data import Data, read_data
from unpool.assemble.job import Prepare, first_batch, make_device
from unpool.assemble.loaders import make_train_loader, require_one_size
from unpool.assemble.model import make_model, make_task, scale_by_data
from unpool.assemble.settling import settled
from unpool.errors import RecipeError
from unpool.inspection.signals import Signal, measure_signals
from unpool.layers.transfer import freeze
from unpool.pages.axes import number
from unpool.pages.blocks import table
from unpool.pages.chart import Series, line_chart
from unpool.pages.markup import element
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.training.step import total_loss
from unpool.types import Batch

PUBLISHED = "published"  # the initial weights of the network's source
_ABOUT = (
    "Deviation of the output of each convolution and linear layer, and of its gradient, on the first batch of the "
    "training order, before the first step"
)


class InitReport(NamedTuple):
    """Deviations by depth.

    Attributes:
        network: with its backbone.
        samples: in the batch.
        signals: of each way to draw initial weights, by name: "published" or a row of INITS.
    """

    network: str
    samples: int
    signals: dict[str, list[Signal]]

    def to_json(self) -> dict[str, Any]:
        rows = {name: [one._asdict() for one in signals] for name, signals in self.signals.items()}
        return {"network": self.network, "samples": self.samples, "signals": rows}

    def to_rows(self) -> list[tuple[str, ...]]:
        """A line of headings, and one for each layer: depth, name, and two deviations of each way."""
        first, *_ = self.signals.values()
        lines = [("depth", "layer", *(f"{name} {what}" for name in self.signals for what in ("output", "gradient")))]
        for depth, layer in enumerate(first):
            cells = [_cells(signals[depth]) for signals in self.signals.values()]
            lines.append((str(depth + 1), layer.layer, *(text for pair in cells for text in pair)))
        return lines

    def view(self) -> View:
        """A chart of the outputs, one of the gradients, and the table."""
        charts = [
            line_chart(title, self._series(key), x="depth in layers", y="deviation")
            for title, key in (("Outputs", "activation"), ("Gradients of the outputs", "gradient"))
        ]
        headings, *rows = self.to_rows()
        sections = [
            Section("By depth", [element("div", {"class": "charts"}, *charts)]),
            Section("By layer", [table(rows, headings=headings)]),
        ]
        subtitle = f"{_ABOUT}, {self.samples} samples"
        return View(f"Initial weights of {self.network}", sections, self.to_json(), subtitle=subtitle)

    def to_page(self) -> str:
        return self.view().to_page()

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def save(self, path: str | Path) -> Path:
        """Writes the page; see `View.save`."""
        return self.view().save(path)

    def _series(self, key: str) -> list[Series]:
        return [
            Series(name, [(depth, getattr(one, key)) for depth, one in enumerate(signals, 1)])
            for name, signals in self.signals.items()
        ]


def _cells(signal: Signal) -> tuple[str, str]:
    return number(signal.activation), "-" if signal.gradient is None else number(signal.gradient)


def show_init(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    inits: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> InitReport:
    """Measures what the initial weights of a recipe's network make of a batch of its data; no weights are loaded.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one.
        overrides: `section.key=value` texts, or values by dotted key.
        inits: rows of INITS to compare with the network's published initial weights and those of `model.init`.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError: there is no such row, or it does not fit the network.

    Example:
        >>> report = show_init("scenes_unet", {"data.count": 8, "model.width": 4, "train.batch": 2}, inits=["he"])
        >>> list(report.signals), report.samples
        (['published', 'he'], 2)
    """
    loaded = load_recipe(load_recipe(recipe, overrides), {"model.weights": None, "model.new_head": False})
    ways = {PUBLISHED: None, **{name: {name: options} for name, options in (loaded.model.init or {}).items()}}
    ways |= {name: {name: {}} for name in inits if name not in ways}
    for way in ways.values():
        load_recipe(loaded, {"model.init": way})  # which refuses a wrong one before the data is read
    data = read_data(loaded, progress=progress)
    loaded = settled(loaded, data)
    loader = make_train_loader(loaded, data)
    require_one_size(loaded, loader)
    prepared = Prepare(data.preprocessing, make_device(loaded), transform=loader.transform)(first_batch(loader))
    recipes = {name: load_recipe(loaded, {"model.init": way}) for name, way in ways.items()}
    signals = {name: _signals(one, data, prepared) for name, one in recipes.items()}
    return InitReport(loaded.model.described, len(prepared["index"]), signals)


def _signals(recipe: Recipe, data: Data, prepared: Batch) -> list[Signal]:
    device = make_device(recipe)
    task = make_task(recipe, data).to(device)
    model = make_model(recipe, task, data.info).to(device)
    task.freeze(model)
    freeze(model, recipe.model.frozen)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise RecipeError("the network has no weight that requires a gradient: unfreeze a layer")
    model.train()
    scale_by_data(recipe, model, lambda: task.losses(model, prepared))
    return measure_signals(model, lambda: total_loss(task.losses(model, prepared)))
