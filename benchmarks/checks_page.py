"""Writes docs/checks.md from the checks themselves: `python -m benchmarks.checks_page`."""

from pathlib import Path

from benchmarks.mistakes import tuning
from unpool.checks.findings import SUBJECTS, Check
from unpool.checks.table import CHECKS

PAGE = Path(__file__).parents[1] / "docs" / "checks.md"
HEAD = """# What `unpool check` looks at

Each check is a measurement of one run before it is trained: of a recipe (`unpool check RECIPE`), or of plain PyTorch
objects (`unpool.check(model=..., train=..., loss=...)`). This page is made of the checks themselves, by
`python -m benchmarks.checks_page`. Behind each cause stands the planted mistake that shows that it is found.
"""


def page() -> str:
    """Returns the page as Markdown."""
    parts = [HEAD]
    for subject, title in SUBJECTS.items():
        checks = [check for check in CHECKS if check.subject == subject]
        parts += [f"\n## {title}\n", *map(_section, checks)] if checks else []
    return "".join(parts)


def _section(check: Check) -> str:
    lines = [
        f"\n### {check.name}\n",
        f"- **Without it**: {check.symptom}",
        f"- **Measured**: {check.measure}",
        f"- **Fails**: {check.threshold}",
        f"- **Origin of the threshold**: {check.origin}",
        *([f"- **Also made**: {when}"] if (when := _when(check)) else []),
        *(f"- `{cause}`: {cure}{_planted(cause)}" for cause, cure in check.causes.items()),
    ]
    return "\n".join(lines) + "\n"


def _when(check: Check) -> str:
    moments = {"by `train` before its first step": check.is_quick, "at ends of epochs": check.is_watched}
    return ", ".join(moment for moment, is_one in moments.items() if is_one)


def _planted(cause: str) -> str:
    names = [case.name for case in tuning.CASES if case.cause == cause]
    return f" (planted: {', '.join(f'`{name}`' for name in names)})" if names else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
