"""The page of a run, as one file, section by section."""

from unpool.report.classes import classes_section, classes_title
from unpool.report.page import Example, confident_section, sheet_section, worst_section, write_report
from unpool.report.result import result_section

__all__ = [
    "Example",
    "classes_section",
    "classes_title",
    "confident_section",
    "result_section",
    "sheet_section",
    "worst_section",
    "write_report",
]
