"""Writes docs/checks.md from the checks themselves: `python -m benchmarks.checks_page`."""

from pathlib import Path

from benchmarks.mistakes import tuning
from unpool.checks.findings import SUBJECTS, Check
from unpool.checks.table import CHECKS

PAGE = Path(__file__).parents[1] / "docs" / "checks.md"
HEAD = """# What `unpool check` looks at

Each check is a measurement of one run before it is trained: of a recipe (`unpool check RECIPE`), or of plain PyTorch
objects (`unpool.check(model=..., train=..., loss=...)`). This page is made of the checks themselves, by
`python -m benchmarks.checks_page`. Behind each cause stand the planted mistakes on which
it is tried; `python -m benchmarks.mistakes` says which of them are found.

## A line in a script of your own

Insert one call before the loop of a training script, with the objects that it has at hand there:

```python
import unpool

print(unpool.check(model=model, train=train_loader, val=val_loader, loss=criterion, optimizer=optimizer).to_text())

for epoch in range(epochs):
    ...
```

It prints what is wrong, the reason first, and nothing where all is right. Model, optimiser, schedule and generators are
afterwards as they were, so the loop may follow. Batches are tuples (images, targets) or dicts. Only `model` and `train`
are needed, and each further argument makes more visible:

- `val`: pictures that stand in both splits, other preparation, augmented validation;
- `loss` and `optimizer`: the first steps;
- `schedule` and `epochs`: the learning rate over the whole run;
- `evaluate=lambda model, val: ...`: the score that you read, as your script computes it;
- `predict=`: what your program answers about one picture;
- `step=`, a function of a batch that takes your training step and returns the loss: zeroing, clipping, accumulation and
  precision, which stand in your loop.

`.to_json()` in the place of `.to_text()` holds everything that was measured, and `.to_page()` is a page with pictures.
`python -m benchmarks.public_scripts` inserts such a line in three public scripts, and plants mistakes in them.
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
