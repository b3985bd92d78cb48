"""Wrong labels are listed, those of hard pictures are not, and each answer is from a learner that did not see it."""

import pytest
import torch

from tests.checks.made import Samples, setup, striped
from unpool.checks import label_scores, quick_network
from unpool.checks.budget import Budget
from unpool.checks.quick_network import Judge, cross_scores
from unpool.checks.seen import see
from unpool.checks.simple_learner import fit
from unpool.checks.suspects import suspects_of
from unpool.checks.wrong_labels import look_noise


def changed(labels, share, seed=0, classes=3):
    """Labels of which a share is any other class, and which these are."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    moved = torch.randint(1, classes, which.shape, generator=generator)
    return labels.index_add(0, which, moved) % classes, set(which.tolist())


def answered(count, seed, *, hard):
    """(scores, labels): soft answers of which a share firmly names another class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    says, _ = changed(labels, hard, seed, classes=4)
    peaks = 2 + 4 * torch.rand(count, 1, generator=generator)
    return (peaks * torch.nn.functional.one_hot(says, 4)).softmax(1), labels


@pytest.mark.parametrize(("hard", "share"), [(0.05, 0.0), (0.05, 0.04), (0.15, 0.1), (0.0, 0.1)])
def test_wrong_labels_are_counted_apart_from_hard_pictures(hard, share):
    scores, labels = answered(4000, 1, hard=hard)
    noisy, wrong = changed(labels, share, 9, classes=4)
    suspects = suspects_of(scores, noisy, *answered(4000, 2, hard=hard))
    assert suspects.wrong == pytest.approx(share, abs=0.02)
    listed = suspects.listed.tolist()
    if share:
        hits = len(wrong & set(listed))
        assert suspects.precision == pytest.approx(hits / len(listed), abs=0.06)
        assert suspects.recall == pytest.approx(hits / len(wrong), abs=0.06)


def test_the_surest_suspects_stand_first():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.0, 1.0], [0.1, 0.9]])
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    suspects = suspects_of(scores, torch.tensor([0, 0, 0, 1]), right, torch.tensor([0, 1]))
    assert suspects.listed.tolist() == [2, 1]


def test_nothing_is_listed_where_labels_are_contradicted_as_often_as_right_ones():
    scores, labels = answered(4000, 1, hard=0.05)
    assert not len(suspects_of(scores, labels, scores, labels).listed)


def test_two_in_a_hundred_labels_are_found_in_more_samples_than_other_checks_read():
    images, labels = striped(1000, 1)
    noisy, wrong = changed(labels, 0.02)
    run = setup(Samples(images, noisy), Samples(*striped(300, 7)), form="class")
    finding = look_noise(run)
    assert (finding.verdict, finding.cause) == ("warn", "data.label_noise")
    assert "Of 1,000 labels of 1,000 samples" in finding.about
    listed = {int(line.split("sample ")[1].split(":")[0]) for line in finding.evidence}
    assert len(listed & wrong) >= 0.9 * max(len(listed), len(wrong))
    assert finding.pictures[0][0] == finding.evidence[0]


def test_a_slow_machine_judges_what_was_read_before(monkeypatch):
    monkeypatch.setattr(label_scores, "READ", 0.0)
    run = setup(Samples(*striped(240, 1)), Samples(*striped(100, 7)), form="class")
    run.seen = see(run, run.train, most=200)
    assert len(run.label_scores.labels) == 200


def test_labels_that_are_contradicted_as_often_in_validation_are_hard_and_not_wrong():
    images, labels = striped(400, 1)
    val_images, val_labels = striped(300, 7)
    noisy = Samples(images, changed(labels, 0.08)[0]), Samples(val_images, changed(val_labels, 0.08)[0])
    finding = look_noise(setup(*noisy, form="class"))
    assert (finding.verdict, finding.value) == ("pass", pytest.approx(0, abs=0.04))


def test_labels_outside_of_the_classes_are_for_another_check():
    images, labels = striped(100, 1)
    labels[3] = -1
    finding = look_noise(setup(Samples(images, labels), Samples(*striped(80, 7)), form="class"))
    assert finding.verdict == "not applicable"


@pytest.mark.parametrize(("samples", "features"), [(60, 12), (20, 30)])
def test_ridge_regression_is_the_same_from_either_product(samples, features):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    targets, others = values[:, :2].sin(), torch.randn(5, features, generator=generator, dtype=torch.float64)
    whole = fit(values, targets)
    normed, beside = ((one - whole.mean) / whole.deviation for one in (values, others))
    centred = targets - targets.mean(0)
    inverse = torch.linalg.inv(normed.T @ normed + whole.penalty * torch.eye(features, dtype=torch.float64))
    assert torch.allclose(whole.says(targets, others), beside @ inverse @ normed.T @ centred + targets.mean(0))
    rest = torch.arange(samples) != 7
    part = normed[rest].T @ normed[rest] + whole.penalty * torch.eye(features, dtype=torch.float64)
    alone = normed[7] @ torch.linalg.inv(part) @ normed[rest].T @ centred[rest] + targets.mean(0)
    assert torch.allclose(whole.left_out(targets)[7], alone)


def judge(**changes):
    values = {"classes": 2, "seconds": 600.0, "is_mirrored": True, "device": torch.device("cpu"), "seed": 0}
    return Judge(**{**values, **changes})


def test_every_sample_is_judged_by_a_network_that_was_not_trained_on_it(monkeypatch):
    trained, asked = [], []
    monkeypatch.setattr(quick_network, "_train", lambda network, judge, images, labels, rest, normed: trained.append(
        set(rest.tolist())))  # fmt: skip

    def says(network, judge, images):
        asked.append((len(trained) - 1, images))
        return torch.zeros(len(images), 2)

    monkeypatch.setattr(quick_network, "_probabilities", says)
    images = torch.arange(90.0)[:, None, None, None].expand(90, 1, 32, 32).contiguous()
    cross_scores(judge(), images, torch.arange(90) % 2, images[:0])
    deviation, mean = images.std(), images.mean()
    judged = [(k, round(float(one * deviation + mean))) for k, some in asked for one in some[:, 0, 0, 0]]
    assert sorted(number for _, number in judged) == list(range(90))
    assert not any(number in trained[fold] for fold, number in judged)
    assert {len(rest) for rest in trained} == {60}


def test_networks_learn_what_is_plain_and_leave_generators_as_they_were(monkeypatch):
    monkeypatch.setattr(quick_network, "WIDTHS", (4, 4, 8))
    monkeypatch.setattr(quick_network, "BATCH", 16)
    labels = torch.arange(60) % 2
    images = labels[:, None, None, None] + 0.3 * torch.randn(60, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    scores, others = cross_scores(judge(), images, labels, images[:9])
    assert torch.equal(before, torch.get_rng_state())
    assert torch.allclose(scores.sum(1), torch.ones(60), atol=1e-4)
    assert float((scores.argmax(1) == labels).float().mean()) > 0.95
    assert float((others.argmax(1) == labels[:9]).float().mean()) > 0.85


def test_networks_stop_when_their_time_is_over(monkeypatch):
    steps = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *rest: (steps.append(1), step(self, *rest))[1])
    monkeypatch.setattr(quick_network, "WIDTHS", (4, 4, 4))
    images = torch.zeros(400, 1, 32, 32)
    scores, _ = cross_scores(judge(seconds=1e-6), images, torch.zeros(400).long(), images[:5])
    assert not steps
    assert scores.shape == (400, 2)


@pytest.mark.parametrize(
    ("minutes", "flips", "expected"), [(2, "flip", None), (5, "flip", True), (5, "translate", False)]
)
def test_networks_judge_large_sets_where_there_are_many_minutes(minutes, flips, expected, monkeypatch):
    judges = []

    def scored(judge, images, labels, others):
        judges.append(judge)
        return torch.zeros(len(images), judge.classes), torch.zeros(len(others), judge.classes)

    monkeypatch.setattr(label_scores, "cross_scores", scored)
    monkeypatch.setattr(label_scores, "LEAST_NETWORK", 200)
    run = setup(Samples(*striped(240, 1)), Samples(*striped(100, 7)), form="class", budget=Budget(minutes),
                facts={"augmentations": (flips,)})  # fmt: skip
    assert run.label_scores is not None
    assert [one.is_mirrored for one in judges] == ([] if expected is None else [expected])
    assert all(60 < one.seconds < 60 * minutes for one in judges)
