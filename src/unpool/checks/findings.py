"""What a check finds: a measurement, its verdict, and where it fails the cause, the evidence and the cure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

Verdict = Literal["pass", "warn", "fail", "not applicable"]
Subject = Literal["data", "augment", "network", "norm", "loss", "optim", "metric", "predict"]
SUBJECTS: dict[Subject, str] = {
    "data": "Data",
    "augment": "Augmentation",
    "network": "Network and initial weights",
    "norm": "Normalisation",
    "loss": "Loss and targets",
    "optim": "Optimisation",
    "metric": "Metric",
    "predict": "Prediction",
}


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        verdict: "pass", "warn", "fail", or "not applicable".
        about: one sentence with the figures that were measured; of "not applicable" the reason.
        value: the figure that is compared with the threshold, where there is one.
        cause: identifier of what is wrong, such as "optim.not_zeroed"; empty where nothing is.
        cure: what to do, in one or two sentences; empty where nothing is wrong.
        evidence: files, classes, layers or figures, the most telling first.
        pictures: (label, (3, H, W) uint8) that show it.
    """

    verdict: Verdict
    about: str
    value: float | None = None
    cause: str = ""
    cure: str = ""
    evidence: tuple[str, ...] = ()
    pictures: tuple[tuple[str, Tensor], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns all but the pictures."""
        values = self._asdict()
        del values["pictures"]
        return {**values, "evidence": list(self.evidence)}


class Check(NamedTuple):
    """One thing that is measured of a run; `docs/checks.md` is made of these.

    Attributes:
        name: of the check, as the table shows it, such as "gradients are zeroed".
        subject: the part of a run that it is about.
        causes: what it can find, each with its cure in general.
        symptom: what somebody sees who makes the mistake and does not check.
        measure: what is measured, in one or two sentences.
        threshold: which figure is a failure, which a warning.
        origin: where the threshold comes from: a paper, a rule of arithmetic, or healthy runs that were measured.
        look: measures one run.
        is_quick: takes a second or two at most.
        is_watched: is made again on the weights that a run has after some epochs.
    """

    name: str
    subject: Subject
    causes: Mapping[str, str]
    symptom: str
    measure: str
    threshold: str
    origin: str
    look: "Callable[[Setup], Finding | Sequence[Finding]]"
    is_quick: bool = False
    is_watched: bool = False


def passed(about: str, value: float | None = None, *, evidence: Sequence[str] = ()) -> Finding:
    """Makes the finding that nothing is wrong, with what is worth knowing all the same."""
    return Finding("pass", about, value, evidence=tuple(evidence))


def not_applicable(why: str) -> Finding:
    """Makes the finding of a check that cannot be made of this run."""
    return Finding("not applicable", why)
