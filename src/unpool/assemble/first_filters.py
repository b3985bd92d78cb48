"""Keeps the filters of the first layer as they were before the first step, for the report."""

import base64
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.inspection.filters import draw_filters, filters_of
from unpool.training.callbacks import Callback
from unpool.training.job import Job

MOST = 64  # filters
LARGEST = 100_000  # weights, since they are saved with the state


class FirstFilters(Callback):
    """The filters of the first convolution before the first step, also of a run that was resumed, and now.

    Attributes:
        layer: its name; empty where the network has no convolution, or filters too large to be saved.
    """

    def __init__(self) -> None:
        self.layer = ""
        self._before: Tensor | None = None
        self._model: nn.Module | None = None

    def start(self, job: Job) -> None:
        self._model = job.model
        if self._before is None:
            self.layer, self._before = _first(job.model)

    def sheets(self, order: Literal["rgb", "bgr"]) -> list[tuple[str, Tensor]]:
        """Two pictures (3, H, W) uint8 with their labels; none where there is nothing to show.

        Args:
            order: of the colours of the input.
        """
        if self._before is None or self._model is None:
            return []
        _, after = _first(self._model)
        named = (("before training", self._before), ("after training", after))
        return [(label, draw_filters(weight, order=order)) for label, weight in named if weight is not None]

    def state_dict(self) -> dict[str, Any]:
        if self._before is None:
            return {}
        values = base64.b64encode(self._before.numpy().astype(np.float16).tobytes()).decode("ascii")
        return {"layer": self.layer, "shape": list(self._before.shape), "values": values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.layer = state["layer"]
        values = np.frombuffer(base64.b64decode(state["values"]), np.float16).astype(np.float32)
        self._before = torch.from_numpy(values).reshape(state["shape"])


def _first(model: nn.Module) -> tuple[str, Tensor | None]:
    try:
        made = filters_of(model)
    except RecipeError:
        return "", None
    weight = made.weight[:MOST].half().float().clone()  # as the state keeps them, so that a resume draws the same
    return (made.layer, weight) if weight.numel() <= LARGEST else ("", None)
