"""The score is best for perfect answers, low for blind ones, counted over the set, in evaluation mode."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.checks.small_runs import batches, images, is_named, net, run
from unpool.checks.counting import look_batches, look_mode, look_second
from unpool.checks.ideals import ideal_of
from unpool.checks.scores import look_blind, look_ignored, look_perfect

LOOKS = {
    "perfect": look_perfect,
    "ignored": look_ignored,
    "blind": look_blind,
    "batches": look_batches,
    "mode": look_mode,
    "second": look_second,
}


def share(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


class Counted:
    """Right answers over the batches; values that are no class are left out."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.right = self.total = 0

    def update(self, outputs, targets):
        seen = targets != 255
        self.right += int(((outputs.argmax(1) == targets) & seen).sum())
        self.total += int(seen.sum())

    def compute(self):
        return {"share": self.right / self.total}


def evaluate(model, val, *, mode=False, of_batches=False):
    model.train(mode)
    right, total, scores = 0, 0, []
    with torch.no_grad():
        for x, y in val:
            same = model(x).argmax(1) == y
            right, total = right + int(same.sum()), total + len(y)
            scores.append(float(same.float().mean()))
    return sum(scores) / len(scores) if of_batches else right / total


class Maps(nn.Module):
    """A class for each pixel."""

    def __init__(self, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, classes, 1)

    def forward(self, x):
        return self.layer(x)


def masks(*, ignored=0.1, values=(0, 1, 2)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, 8, 8, generator=generator)
    y = torch.tensor(values)[torch.randint(0, len(values), (24, 8, 8), generator=generator)]
    y[torch.rand(24, 8, 8, generator=generator) < ignored] = 255
    return list(zip(x.split(8), y.split(8), strict=True))


def map_run(**changes):
    data = changes.pop("data", None) or masks()
    return run(model=Maps(), loss=nn.CrossEntropyLoss(ignore_index=255), train=data, val=data, **changes)


def value_run(**changes):
    """Values from 0 to 1, as pictures have them."""
    x = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = list(zip(x.split(8), x.split(8), strict=True))
    return run(**{"model": Maps(), "loss": nn.MSELoss(), "train": data, "val": data, **changes})


def ratio(outputs, targets, peak=1.0):
    return (10 * torch.log10(peak**2 / (outputs - targets).square().mean((1, 2, 3)))).mean()


RIGHT = {
    "function": lambda: run(metric=share),
    "function and evaluate": lambda: run(metric=share, evaluate=evaluate),
    "object": lambda: run(metric=Counted(), evaluate=evaluate),
    "percent": lambda: run(metric=lambda o, t: 100 * share(o, t)),
    "error": lambda: run(metric=lambda o, t: 1 - share(o, t)),
    "loader": lambda: run(evaluate=evaluate, val=DataLoader(TensorDataset(*images(30)), 7)),
    "maps": lambda: map_run(metric=Counted()),
    "values": lambda: value_run(metric=ratio),
    "errors of values": lambda: value_run(metric=lambda o, t: (o - t).abs().mean()),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_scores_pass(name, look):
    assert LOOKS[look](RIGHT[name]()).verdict in ("pass", "not applicable")


@pytest.mark.parametrize("name", ["function", "percent", "error", "maps", "values", "errors of values"])
def test_known_scores_have_a_second_implementation_that_agrees(name):
    assert look_second(RIGHT[name]()).verdict == "pass"


@pytest.mark.parametrize("look", LOOKS)
def test_run_without_a_score_is_not_judged(look):
    assert LOOKS[look](run()).verdict == "not applicable"


def test_score_that_counts_absent_classes_as_zero_is_named():
    def mean_over_all(outputs, targets):
        answer = outputs.argmax(1)
        return sum(float((answer[targets == c] == c).sum()) / max(1, int((targets == c).sum())) for c in range(3)) / 3

    setup = map_run(metric=mean_over_all, data=masks(ignored=0, values=(0, 1)))
    assert is_named(look_perfect(setup), "metric.not_perfect")


def test_score_that_does_not_depend_on_the_answers_is_named():
    assert look_perfect(run(metric=lambda o, t: t.float().mean())).verdict == "fail"


class Column(nn.Module):
    """One score a picture, as (N, 1)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(432, 1)

    def forward(self, x):
        return self.layer(x.flatten(1))


def yes_or_no():
    x, y = images(32)
    return list(zip(x.split(8), (y == 0).float().split(8), strict=True))


def column_run(answer):
    def evaluate(model, val):
        with torch.no_grad():
            return float(torch.cat([(answer(model(x)) == y).float() for x, y in val]).mean())

    loss = lambda o, t: nn.functional.binary_cross_entropy_with_logits(o[:, 0], t)  # noqa: E731
    return run(model=Column(), loss=loss, train=yes_or_no(), val=yes_or_no(), evaluate=evaluate)


def test_largest_of_one_output_is_named_and_a_threshold_passes():
    finding = look_perfect(column_run(lambda o: o.argmax(1)))
    assert is_named(finding, "metric.wrong_axis")
    assert "threshold" in finding.cure
    assert look_perfect(column_run(lambda o: (o[:, 0] > 0).float())).verdict == "not applicable"


def test_score_of_outputs_that_are_never_read_is_not_called_a_wrong_axis_where_there_are_several():
    assert is_named(look_perfect(run(metric=lambda o, t: (t == 0).float().mean())), "metric.not_perfect")


def test_softmax_over_the_batch_is_named():
    finding = look_perfect(run(metric=lambda o, t: share(o.softmax(0), t)))
    assert is_named(finding, "metric.wrong_axis")
    assert "dim=1" in finding.cure


def test_argmax_over_another_axis_of_maps_is_named():
    square = run(
        model=Maps(8),
        train=[(x, torch.randint(0, 8, (8, 8, 8))) for x, _ in masks()],
        metric=lambda o, t: (o.argmax(-1) == t).float().mean(),
    )
    square.val = square.train
    assert is_named(look_perfect(square), "metric.wrong_axis")


class Binary(nn.Module):
    """Whether each pixel is of the foreground."""

    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.last = nn.Conv2d(3, 1, 1), last

    def forward(self, x):
        return self.last(self.layer(x))


def binary_run(last, loss, threshold):
    data = [(x, (y[:, None] == 1).float()) for x, y in masks(ignored=0)]

    def overlap(outputs, targets):
        answer, truth = outputs > threshold, targets > 0.5
        return (answer & truth).sum() / (answer | truth).sum().clamp(min=1)

    return run(model=Binary(last), loss=loss, train=data, val=data, metric=overlap)


def test_threshold_of_probabilities_on_logits_is_named():
    assert is_named(look_perfect(binary_run(nn.Identity(), nn.BCEWithLogitsLoss(), 0.5)), "metric.wrong_axis")


def test_thresholds_at_the_border_pass():
    assert look_perfect(binary_run(nn.Identity(), nn.BCEWithLogitsLoss(), 0.0)).verdict == "pass"
    assert look_perfect(binary_run(nn.Sigmoid(), nn.BCELoss(), 0.5)).verdict == "pass"


def test_ignored_pixels_that_count_as_wrong_are_named():
    assert is_named(look_perfect(map_run(metric=share)), "metric.ignored_counted")


def test_ignored_pixels_whose_answers_count_are_named():
    def answered(outputs, targets):
        return 1 - ((outputs.argmax(1) == 1) & (targets != 1)).float().mean()

    assert is_named(look_ignored(map_run(metric=answered)), "metric.ignored_counted")


def test_ignored_pixels_that_count_as_right_are_named():
    def masked(outputs, targets):
        return ((outputs.argmax(1) == targets) | (targets == 255)).float().mean()

    assert is_named(look_ignored(map_run(metric=masked)), "metric.ignored_counted")


@pytest.mark.parametrize(("rare", "verdict"), [(0.03, "fail"), (0.11, "warn")])
def test_share_of_right_answers_of_a_frequent_class_is_named(rare, verdict):
    x, y = images(96)
    y = torch.where(torch.arange(96) < rare * 96, 1, 0)
    finding = look_blind(run(metric=share, val=[(x, y)]))
    assert is_named(finding, "metric.rewards_constant", verdict)


def test_nearest_that_is_the_query_itself_is_named_and_without_it_passes():
    class Vectors(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3 * 144, 8)

        def forward(self, x):
            return nn.functional.normalize(self.layer(x.flatten(1)), dim=1)

    def nearest(*, with_itself):
        def of(model, val):
            with torch.no_grad():
                pairs = [(model(x), y) for x, y in val]
            vectors, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
            distances = (vectors[:, None] - vectors).square().sum(2)
            if not with_itself:
                distances.fill_diagonal_(9)
            return float((labels[distances.argmin(1)] == labels).float().mean())

        return of

    blind = [look_blind(run(model=Vectors(), evaluate=nearest(with_itself=one))) for one in (True, False)]
    assert is_named(blind[0], "metric.rewards_constant")
    assert blind[1].verdict == "pass"


def test_mean_of_batches_is_named():
    mean = lambda model, val: evaluate(model, val, of_batches=True)  # noqa: E731
    assert is_named(look_batches(run(evaluate=mean)), "metric.averaged_batches")


def test_object_that_averages_batches_is_named():
    class Averaged(Counted):
        def reset(self):
            self.scores = []

        def update(self, outputs, targets):
            self.scores.append(float(share(outputs, targets)))

        def compute(self):
            return sum(self.scores) / len(self.scores)

    assert is_named(look_batches(run(metric=Averaged())), "metric.averaged_batches")


def test_ratio_of_the_mean_error_is_named():
    def of_mean(model, val):
        with torch.no_grad():
            return float(torch.stack([-10 * (model(x) - y).square().mean().log10() for x, y in val]).mean())

    assert is_named(look_batches(value_run(evaluate=of_mean)), "metric.averaged_batches")


def test_mean_over_batches_of_one_sample_is_a_mean_over_samples():
    def of_batches(model, val):
        with torch.no_grad():
            return float(torch.stack([-10 * (model(x) - y).square().mean().log10() for x, y in val]).mean())

    whole = value_run(evaluate=of_batches)
    x, y = (torch.cat(part) for part in zip(*whole.val.data, strict=True))
    single = value_run(evaluate=of_batches, val=list(zip(x.split(1), y.split(1), strict=True)))
    assert look_batches(single).verdict == "not applicable"


def test_pooled_error_with_a_peak_of_255_for_values_up_to_1_is_named():
    finding = look_second(value_run(metric=lambda o, t: 20 * (255 / (o - t).square().mean().sqrt()).log10()))
    assert is_named(finding, "metric.disagrees")
    assert look_second(value_run(metric=lambda o, t: -10 * (o - t).square().mean().log10())).verdict == "pass"


def test_validation_in_training_mode_is_named():
    training = lambda model, val: evaluate(model, val, mode=True)  # noqa: E731
    finding = look_mode(run(evaluate=training))
    assert is_named(finding, "metric.train_mode")
    assert "1" in finding.evidence


def test_mode_without_effect_passes():
    training = lambda model, val: evaluate(model, val, mode=True)  # noqa: E731
    assert look_mode(run(model=nn.Sequential(nn.Flatten(), nn.Linear(432, 3)), evaluate=training)).verdict == "pass"


def test_peak_of_255_is_named_where_answers_are_cut_and_errors_have_a_least():
    def score(outputs, targets):
        squares = (outputs.clamp(0, 1) - targets).square().flatten(1).mean(1).clamp(min=1e-10)
        return (10 * torch.log10(255**2 / squares)).mean()

    assert is_named(look_second(value_run(metric=score)), "metric.disagrees")


def test_error_that_perfect_answers_have_is_named():
    run = value_run(metric=lambda outputs, targets: (outputs * 250 + 300 - targets).abs().mean())
    assert is_named(look_perfect(run), "metric.not_perfect")


def test_peak_of_255_for_values_up_to_1_is_named():
    finding = look_second(value_run(metric=lambda o, t: ratio(o, t, 255.0)))
    assert is_named(finding, "metric.disagrees")
    assert "48.1 dB" in finding.about


def test_evaluation_of_another_network_is_not_judged():
    other = net()
    finding = look_batches(run(evaluate=lambda model, val: evaluate(other, val)))
    assert "does not ask the model" in finding.about


def test_ideal_outputs_answer_every_target():
    _, y = batches(1)[0]
    ideal = ideal_of("class", torch.randn(8, 3), y, image_hw=None, is_share=False)
    assert torch.equal(ideal.right.argmax(1), y)
    assert not bool((ideal.wrong.argmax(1) == y).any())
    assert [set(one.argmax(1).tolist()) for one in ideal.constant] == [{0}, {1}, {2}]


def test_ideal_heatmaps_have_their_peaks_at_the_points():
    points = torch.tensor([[[4.0, 8.0, 1.0]]])
    ideal = ideal_of("points", torch.zeros(1, 1, 8, 8), points, image_hw=(16, 16), is_share=False)
    assert int(ideal.right.flatten().argmax()) == 4 * 8 + 2


class Pairs(Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


class Corners(nn.Module):
    """A score and a box for the one thing of each picture."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(432, 5)

    def forward(self, x):
        return self.layer(x.flatten(1))


def thing_run(*, of_batches):
    """Things with boxes, of which half are seen as such; a score of 0.5 in all."""
    x, _ = images(32)
    boxes = torch.rand(32, 4, generator=torch.Generator().manual_seed(3))
    pairs = [(image, {"boxes": one[None]}) for image, one in zip(x, boxes, strict=True)]
    collate = lambda some: (torch.stack([image for image, _ in some]), [target for _, target in some])  # noqa: E731
    data = DataLoader(Pairs(pairs), 8, collate_fn=collate)
    loss = lambda o, t: (o[:, 1:] - torch.cat([one["boxes"] for one in t])).square().sum()  # noqa: E731

    def evaluate(model, val):
        scores = []
        with torch.no_grad():
            for x, targets in val:
                gap = (model(x)[:, 1:] - torch.cat([one["boxes"] for one in targets])).abs().amax(1)
                scores.append((gap < 0.01).float())
        return float(torch.stack([one.mean() for one in scores]).mean() if of_batches else torch.cat(scores).mean())

    return run(model=Corners(), loss=loss, train=data, val=data, evaluate=evaluate, form="things")


def test_score_of_things_is_counted_with_answers_that_the_loss_likes():
    finding = look_batches(thing_run(of_batches=True))
    assert is_named(finding, "metric.averaged_batches")
    assert "0.25," in finding.about
    assert look_batches(thing_run(of_batches=False)).verdict == "pass"


class Speaker(nn.Module):
    """Scores of three words behind each of those so far, of one colour."""

    def __init__(self):
        super().__init__()
        self.words, self.colours = nn.Embedding(4, 4), nn.Linear(3, 4)

    def forward(self, images, tokens):
        return self.words(tokens) + self.colours(images.mean((2, 3)))[:, None]


def test_sentences_that_are_asked_for_word_by_word_can_be_perfect():
    def exact(model, batches):
        right = count = 0
        for batch in batches:
            tokens = batch["tokens"][:, :1]
            for _ in range(3):
                tokens = torch.cat([tokens, model(batch["image"], tokens)[:, -1:].argmax(-1)], 1)
            right, count = right + int((tokens == batch["tokens"]).all(1).sum()), count + len(tokens)
        return right / count

    x, y = images(32)
    texts = torch.stack([torch.zeros_like(y), y, (y + 1) % 3, y], 1)
    data = [{"image": a, "tokens": b} for a, b in zip(x.split(8), texts.split(8), strict=True)]
    setup = run(
        model=Speaker(), train=data, val=data, form="tokens", evaluate=exact,
        loss=lambda o, batch: nn.functional.cross_entropy(o.transpose(1, 2), batch["tokens"][:, 1:]),
        forward=lambda model, batch: model(batch["image"], batch["tokens"][:, :-1]),
    )  # fmt: skip
    assert look_perfect(setup).verdict == "pass"
