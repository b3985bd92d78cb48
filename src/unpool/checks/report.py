"""What was found out about a run: a table for the terminal, JSON, and a page with pictures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from unpool.checks.findings import SUBJECTS, Check, Finding
from unpool.checks.reasons import ordered
from unpool.pages.blocks import headline, note, table
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section, build_page

_MARKS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "not applicable": "-"}


class Result(NamedTuple):
    """One check and what it found; `seconds` is what it took."""

    check: Check
    findings: tuple[Finding, ...]
    seconds: float


class Report(NamedTuple):
    """All checks of one run.

    Attributes:
        title: of the run.
        results: in the order of the checks.
        cut: what was left out or made smaller to keep within the time, and what could not be put back.
        seconds: in all.

    Example:
        >>> Report("mnist", (), (), 0.5).is_right
        True
    """

    title: str
    results: tuple[Result, ...]
    cut: tuple[str, ...]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether no check failed."""
        return all(one.verdict != "fail" for one in self.findings)

    @property
    def findings(self) -> list[Finding]:
        return [finding for result in self.results for finding in result.findings]

    @property
    def wrong(self) -> list[Finding]:
        """Failures and warnings, the reason first."""
        return ordered(self.findings)

    @property
    def cause(self) -> str:
        """Identifier of the reason that is named first; empty where nothing failed."""
        return next((one.cause for one in self.wrong if one.verdict == "fail"), "")

    def to_rows(self) -> list[list[str]]:
        """Returns a row for each finding: verdict, subject, check, and what was measured."""
        return [
            [_MARKS[one.verdict], result.check.subject, result.check.name, one.about]
            for result in self.results
            for one in result.findings
        ]

    def to_text(self) -> str:
        """Returns what is wrong in words, the reason first: cause, evidence, cure."""
        return texts_of(self.wrong)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "is_right": self.is_right,
            "cause": self.cause,
            "seconds": round(self.seconds, 2),
            "cut": list(self.cut),
            "checks": [
                {"name": result.check.name, "subject": result.check.subject, "seconds": round(result.seconds, 3)}
                | {"findings": [one.to_json() for one in result.findings]}
                for result in self.results
            ],
        }

    def to_page(self) -> str:
        """Returns the HTML of a page that loads nothing from elsewhere."""
        wrong = [_shown(one) for one in self.wrong]
        failed = sum(one.verdict == "fail" for one in self.findings)
        warned = sum(one.verdict == "warn" for one in self.findings)
        none = f"none, and {warned} {'warning' if warned == 1 else 'warnings'}" if warned else "nothing is wrong"
        counted = f"{failed} of {len(self.results)}" if failed else none
        sections = [
            Section("Result", [headline("checks that fail", counted), *map(note, self.cut)]),
            Section("Wrong", wrong),
        ]
        sections += [Section(title, _of_subject(self.results, subject)) for subject, title in SUBJECTS.items()]
        return build_page(f"check of {self.title}", sections, subtitle=f"{self.seconds:.0f} s")

    def _repr_html_(self) -> str:
        return element("pre", None, self.to_text() or "nothing is wrong")


def texts_of(wrong: Sequence[Finding]) -> str:
    """Findings in words, a line for what was measured, lines for evidence, and one for the cure."""
    lines: list[str] = []
    for number, one in enumerate(wrong):
        mark = "WRONG" if one.verdict == "fail" and number == 0 else _MARKS[one.verdict]
        lines += [f"{mark}: {one.about} [{one.cause}]", *(f"    {text}" for text in one.evidence[:5])]
        lines += [f"    do: {one.cure}"] if one.cure else []
    return "\n".join(lines)


def _shown(one: Finding) -> Markup:
    parts = [
        element("p", None, element("b", None, "Wrong: " if one.verdict == "fail" else "Warning: "), one.about),
        element("ul", None, *(element("li", None, text) for text in one.evidence)) if one.evidence else "",
        element("p", None, element("b", None, "Do: "), one.cure) if one.cure else "",
        grid([Card(label, "", [Picture("", image)]) for label, image in one.pictures]) if one.pictures else "",
        note(one.cause),
    ]
    return element("div", {"class": "card"}, *parts)


def _of_subject(results: Sequence[Result], subject: str) -> list[Markup]:
    rows = [
        [
            _MARKS[one.verdict],
            result.check.name,
            " ".join((one.about, *(one.evidence[:3] if one.verdict == "pass" else ()))),
        ]
        for result in results
        for one in result.findings
        if result.check.subject == subject
    ]
    return [table(rows, headings=["", "check", "measured"])] if rows else []
