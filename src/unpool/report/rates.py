"""The page of a learning-rate range test."""

from unpool.pages import blocks
from unpool.pages.axes import number
from unpool.pages.chart import Series, line_chart
from unpool.pages.page import Section, build_page
from unpool.training.rate_range import RateRange


def rate_page(report: RateRange, *, title: str) -> str:
    """HTML with the losses over the rates, the proposal, and what was too low and too high.

    Args:
        report: of the test.
        title: such as the recipe's name.
    """
    lines = {"each step": report.losses, "smoothed": report.smoothed}
    series = [Series(name, list(zip(report.rates, losses, strict=True))) for name, losses in lines.items()]
    rows = [("loss is lowest at", report.lowest), ("too low up to", report.too_low), ("too high from", report.too_high)]
    rows = rows[:1] if report.proposal is None else rows
    parts = [
        *([] if report.proposal is None else [blocks.headline("proposed train.lr", number(report.proposal))]),
        blocks.table([(name, "not reached" if rate is None else f"{rate:.2g}") for name, rate in rows]),
        line_chart("Loss", series, x="learning rate", y="loss", is_log_across=True),
        blocks.note(report.words()),
    ]
    return build_page(title, [Section("Learning-rate range test", parts)])
