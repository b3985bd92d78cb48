"""The page of a run, as one file, section by section."""

from unpool.report.page import Example, write_report

__all__ = ["Example", "write_report"]
