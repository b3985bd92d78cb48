"""Which labels are wrong: those that a learner contradicts which was not fitted to them, against validation."""

from typing import TYPE_CHECKING

from torch import Tensor

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.label_scores import DEEP, FEW, LEAST, LEAST_NETWORK, MANY, QUICK, LabelScores
from unpool.checks.showing import of_samples
from unpool.checks.suspects import Suspects, suspects_of

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

NOISE_LEAST, NOISE_SURE, GOOD = 0.01, 3.0, 0.6  # of the labels; standard errors; accuracy that makes it a judge
COSTS = 0.5  # of each firm contradiction at least, an answer that counts as right

NOISE = "Look at the samples that are named, the surest first, and correct or leave out those that are wrong."


def look_noise(setup: "Setup") -> Finding:
    """Compares how often a learner firmly disagrees with labels that it did not see, in both splits."""
    if setup.target_form != "class":
        return not_applicable("the targets are no classes")
    if not setup.seen.is_repeatable:
        return not_applicable("training samples are augmented where they are read, so that validation is no measure")
    if setup.val is None:
        return not_applicable("give val=: it tells what is hard from what is wrong")
    judged = setup.label_scores
    if judged is None:
        return not_applicable(f"fewer than {LEAST} samples in a split, or the splits have other pictures or labels")
    suspects = suspects_of(judged.scores, judged.labels, judged.val_scores, judged.val_labels)
    right, val_right = judged.right
    gap = suspects.contradicted - suspects.contradicted_right
    about = (
        f"Of {len(judged.labels):,} labels{_of_all(setup)}, {suspects.contradicted:.1%} are firmly "
        f"contradicted by {judged.learner}, and {suspects.contradicted_right:.1%} in validation, of which "
        f"{val_right:.0%} are answered right"
    )
    if val_right < GOOD or suspects.wrong < NOISE_LEAST or gap < NOISE_SURE * _error(judged, suspects):
        return passed(f"{about}.", gap)
    if val_right - right < COSTS * gap:
        return passed(f"{about}; in training {right:.0%} are, as many as where no label is wrong.", gap)
    listed = suspects.listed.tolist()
    named = tuple(_named(setup, judged, i) for i in listed)
    pictures = (picture for _, picture in of_samples(judged.seen, listed))
    return Finding(
        "warn", f"{about}: some {suspects.wrong:.1%} of the labels seem to be wrong. Of the {len(listed):,} that are "
        f"listed about {suspects.precision:.0%} should be wrong, and the list should hold {suspects.recall:.0%} of "
        "the wrong ones among those searched.", gap, "data.label_noise", NOISE,
        named, tuple(zip(named, pictures, strict=False)),
    )  # fmt: skip


def _of_all(setup: "Setup") -> str:
    return "" if setup.train.dataset is None else f" of {len(setup.train):,} samples"


def _error(judged: LabelScores, suspects: Suspects) -> float:
    """Standard error of the difference of the two shares; of none in validation, that of one."""
    share, right = suspects.contradicted, suspects.contradicted_right
    count, val_count = len(judged.labels), max(1, len(judged.val_labels))
    return (share * (1 - share) / count + max(right * (1 - right), 1 / val_count) / val_count) ** 0.5


def _named(setup: "Setup", judged: LabelScores, position: int) -> str:
    rather = int(_without(judged.scores[position], int(judged.labels[position])).argmax())
    named = [setup.class_name(one) for one in (int(judged.labels[position]), rather)]
    return f"{judged.seen.where(position)}: {named[0]}, rather {named[1]}"


def _without(scores: Tensor, label: int) -> Tensor:
    return scores.index_fill(0, scores.new_tensor([label]).long(), float("-inf"))


CHECKS = (
    Check(
        name="labels agree with one another",
        subject="data",
        causes={"data.label_noise": NOISE},
        symptom="The training loss falls slowly and late, where wrong labels are learned by heart.",
        measure="Labels that are firmly contradicted by a learner that was not fitted to them, in training and, by the "
        "same learner, in validation; firmly is by the margin at which validation tells its labels best from any other "
        "labels, and the gap is divided by the share of these beyond it. Ridge regression on patches, with each "
        f"sample left out, judges up to {FEW:,} samples in {QUICK:.0%} of the time. With many minutes ({DEEP:.0%} of "
        f"those beyond two) and {LEAST_NETWORK:,} samples or more, small networks judge up to {MANY:,}, each fold by "
        "the one that was trained on the other folds.",
        threshold=f"{NOISE_LEAST:.0%} of wrong labels, at {NOISE_SURE:g} standard errors of the gap, warn where the "
        f"learner answers {GOOD:.0%} of validation right. From which margin on labels are listed is what gives the "
        "best F1 where validation stands for right labels, and validation with each other label for wrong ones.",
        origin="Northcutt et al. 2021 count wrong labels by such disagreement; validation stands for what is hard, "
        "not wrong. `python -m benchmarks.label_noise` plants wrong labels and counts those that are found.",
        look=look_noise,
    ),
)
