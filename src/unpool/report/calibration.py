"""Whether probabilities can be believed: a curve of the share right over the probability, with its numbers."""

from collections.abc import Sequence

from unpool.pages import blocks
from unpool.pages.chart import Series, line_chart
from unpool.pages.markup import Markup, element
from unpool.report.words import in_percent
from unpool.task import Description

_ABOUT = (
    "Answers in bins by the probability that the network gives them. Below the line of equality it is too sure, above "
    "it not sure enough. The calibration error is the mean distance from that line over all answers (Guo et al. 2017, "
    "arXiv:1706.04599)."
)


def calibration_parts(rows: Sequence[Sequence[float]], description: Description) -> list[Markup]:
    """A heading, the curve and a table of its bins.

    Args:
        rows: mean probability, share right and number of answers of each bin.
        description: of the metric; its unit is what is counted.

    Example:
        >>> shown = calibration_parts([[0.9, 0.5, 10]], Description("Calibration", unit="images"))
        >>> shown[0], "50.0 %" in shown[2]
        ('<h3>Calibration</h3>', True)
    """
    points = [(100 * confidence, 100 * right) for confidence, right, _ in rows]
    lines = [Series("share right", points), Series("equality", [(0.0, 0.0), (100.0, 100.0)])]
    title = f"Share of {description.unit} that are right, by the probability of the answer"
    chart = line_chart(title, lines, x="probability of the answer, %", y="right, %", span=(0.0, 100.0), scale="zero")
    cells = [(in_percent(confidence), in_percent(right), int(count)) for confidence, right, count in rows]
    return [
        element("h3", None, description.title),
        element("div", {"class": "charts"}, chart),
        blocks.folded("The bins", blocks.table(cells, headings=("mean probability", "right", description.unit))),
        blocks.note(_ABOUT),
    ]
