"""What a notebook shows of results: tables of scores, and images with their answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.pages import blocks
from unpool.pages.markup import element, joined
from unpool.report.result import result_section
from unpool.task import Description


class Metrics(dict[str, Any]):
    """The metrics of a run or an evaluation, a dict; a notebook shows them as a table.

    Args:
        values: as `unpool.train` documents them.
        described: how each is shown, as a task has it.
        best: name of the main one.
    """

    def __init__(self, values: Mapping[str, Any], described: Mapping[str, Description], best: str) -> None:
        super().__init__(values)
        self._described, self._best = described, best

    def _repr_html_(self) -> str:
        parts = result_section(self, self._described, self._best)
        if "run" in self:
            report = Path(self["run"]) / "report.html"
            parts.append(blocks.note(joined("report: ", element("a", {"href": report.as_uri()}, str(report)))))
        return joined(*parts)
