"""The loss is asked about answers that it must like and answers that it must not; what it says wrongly is named."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.small_setups import NONE, PASS, classes, drawn, masks, numbers, seen, setup, small_map, small_net
from unpool.checks.activations import look_output_at_start
from unpool.checks.loss_answers import look_answers
from unpool.checks.loss_counts import look_class_weights, look_ignored
from unpool.checks.loss_direction import look_direction, look_kind, look_softmax
from unpool.checks.loss_pairs import look_pairs
from unpool.checks.loss_scale import look_scale, look_target_scale
from unpool.checks.loss_words import look_shift

CE = nn.CrossEntropyLoss()


def binary():
    return [(image, (mask[:, None] > 0).float()) for image, mask in masks()]


def with_end(net, end):
    return nn.Sequential(*net, end)


SOFTMAX = {
    "softmax twice": (with_end(small_net(), nn.Softmax(1)), classes(), CE, "network.double_softmax"),
    "scores to nll": (small_net(), classes(), nn.NLLLoss(), "network.double_softmax"),
    "sigmoid twice": (with_end(small_map(1), nn.Sigmoid()), binary(), nn.BCEWithLogitsLoss(), "network.double_softmax"),
    "scores to cross-entropy": (small_net(), classes(), CE, ""),
    "log-softmax to nll": (with_end(small_net(), nn.LogSoftmax(1)), classes(), nn.NLLLoss(), ""),
    "log-softmax to cross-entropy": (with_end(small_net(), nn.LogSoftmax(1)), classes(), CE, ""),
    "sigmoid to bce": (with_end(small_map(1), nn.Sigmoid()), binary(), nn.BCELoss(), ""),
    "scores to bce with logits": (small_map(1), binary(), nn.BCEWithLogitsLoss(), ""),
    "label smoothing": (small_net(), classes(), nn.CrossEntropyLoss(label_smoothing=0.1), ""),
    "scores of pixels": (small_map(), masks(), CE, ""),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_is_applied_once(name):
    model, train, loss, cause = SOFTMAX[name]
    assert seen(look_softmax, setup(model, train, loss)) == {("fail" if cause else "pass", cause)}


def overwritten(outputs, labels):
    labels = outputs.argmax(1)
    return F.cross_entropy(outputs, labels)


def minus_probability(outputs, labels):
    return F.nll_loss(outputs.softmax(1), labels)


DIRECTION = {
    "sign": (small_net(), classes(), lambda out, t: -CE(out, t), "loss.wrong_way"),
    "similarity": (small_net(2), numbers(), lambda out, t: F.cosine_similarity(out, t).mean(), "loss.wrong_way"),
    "labels overwritten": (small_net(), classes(), overwritten, "loss.not_of_targets"),
    "outputs unused": (small_net(), classes(), lambda out, t: t.float().mean() + 0 * out.sum(), "loss.not_of_targets"),
    "no logarithm": (with_end(small_net(), nn.Softmax(1)), classes(), nn.NLLLoss(), "loss.wrong_way"),
    "cross-entropy": (small_net(), classes(), CE, ""),
    "probabilities": (with_end(small_net(), nn.LogSoftmax(1)), classes(), nn.NLLLoss(), ""),
    "squared error": (small_net(2), numbers(), F.mse_loss, ""),
    "1 - similarity": (small_net(2), numbers(), lambda out, t: 1 - F.cosine_similarity(out, t).mean(), ""),
    "masks": (with_end(small_map(1), nn.Sigmoid()), binary(), nn.BCELoss(), ""),
}


@pytest.mark.parametrize("name", DIRECTION)
def test_loss_that_does_not_prefer_right_answers_is_named(name):
    model, train, loss, cause = DIRECTION[name]
    assert seen(look_direction, setup(model, train, loss)) == {("fail" if cause else "pass", cause)}


def numbers_of_classes(outputs, labels):
    return F.mse_loss(outputs[:, 0], labels.float())


def labels_at_once():
    return [(image, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]] * 4)) for image, _ in classes()]


KIND = {
    "class numbers": (small_net(1), classes(), numbers_of_classes, "loss.wrong_kind"),
    "squares of scores": (
        small_net(),
        classes(),
        lambda out, t: F.mse_loss(out, F.one_hot(t, 3).float()),
        "loss.wrong_kind",
    ),
    "one of several labels": (small_net(), labels_at_once(), CE, "loss.wrong_kind"),
    "each of several labels": (small_net(), labels_at_once(), nn.BCEWithLogitsLoss(), ""),
    "one hot": (small_net(), [(i, F.one_hot(t, 3).float()) for i, t in classes()], CE, ""),
    "cross-entropy": (small_net(), classes(), CE, ""),
    "counts up to 40": (
        small_net(1),
        [(image, torch.arange(40) + 1) for image, _ in classes(size=40)],
        numbers_of_classes,
        "",
    ),
}


@pytest.mark.parametrize("name", KIND)
def test_loss_of_another_kind_than_the_targets_is_named(name):
    model, train, loss, cause = KIND[name]
    assert seen(look_kind, setup(model, train, loss)) == {("fail" if cause else "pass", cause)}


def rough(outputs, targets):
    return {"error": F.mse_loss(outputs, targets), "smooth": (outputs.diff(dim=3).abs().sum()) / len(outputs)}


def pictures():
    return [(image, image.clone()) for image, _ in classes()]


SCALE = {
    "sum": (small_net(), classes(), nn.CrossEntropyLoss(reduction="sum"), "fail"),
    "mean divided again": (small_net(), classes(), lambda out, t: CE(out, t) / len(t), "fail"),
    "sum over pixels": (small_map(), masks(), lambda out, t: CE(out, t) * 256, "fail"),
    "factor of 20": (small_net(), classes(), lambda out, t: 20 * CE(out, t), "warn"),
    "mean": (small_net(), classes(), CE, "pass"),
    "sum over pixels of a mean over samples": (small_map(3), pictures(), lambda o, t: F.mse_loss(o, t) * 9, "pass"),
    "a term that dwarfs the error": (small_map(3), pictures(), rough, "fail"),
}


@pytest.mark.parametrize("name", SCALE)
def test_size_of_the_loss_is_that_of_a_mean(name):
    model, train, loss, verdict = SCALE[name]
    found = seen(look_scale, setup(model, train, loss))
    assert max(found, key=lambda one: ("pass", "warn", "fail").index(one[0])) == (
        verdict,
        "" if verdict == "pass" else "loss.scale",
    )


def test_term_whose_gradient_is_hundreds_of_times_the_others_is_named():
    def loss(outputs, targets):
        return {"a": F.mse_loss(outputs, targets), "b": 1e-4 * F.l1_loss(outputs, targets)}

    assert ("fail", "loss.scale") in seen(look_scale, setup(small_net(2), numbers(), loss))


@pytest.mark.parametrize(
    ("scale", "verdict"), [(100.0, "fail"), (0.001, "fail"), (8.0, "warn"), (1.0, "pass"), (0.2, "pass")]
)
def test_targets_far_from_order_1_are_named(scale, verdict):
    found = seen(look_target_scale, setup(small_net(2), numbers(scale=scale), F.mse_loss))
    assert found == {(verdict, "" if verdict == "pass" else "loss.target_scale")}


def test_large_targets_are_right_where_the_network_answers_in_their_size():
    net = small_net(2)
    net[-1].weight.data *= 1000
    assert seen(look_target_scale, setup(net, numbers(scale=100.0), F.mse_loss)) == PASS


def test_joints_in_pixels_are_named_and_their_visibility_is_no_target():
    joints = [(image, torch.cat([60 * drawn(8, 4, 2).abs(), torch.ones(8, 4, 1)], 2)) for image, _ in classes()]
    net = with_end(small_net(8), nn.Unflatten(1, (4, 2)))

    def loss(outputs, targets):
        return F.mse_loss(outputs, targets[..., :2])

    assert seen(look_target_scale, setup(net, joints, loss)) == {("fail", "loss.target_scale")}


def void_as_ground(outputs, mask):
    return F.cross_entropy(outputs, mask.masked_fill(mask == 255, 0))


def divided_by_all(outputs, mask):
    return F.cross_entropy(outputs, mask, ignore_index=255, reduction="none").mean()


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (void_as_ground, ("fail", "loss.ignored_counted")),
        (divided_by_all, ("warn", "loss.ignored_counted")),
        (nn.CrossEntropyLoss(ignore_index=255), ("pass", "")),
        (nn.CrossEntropyLoss(torch.tensor([0.3, 2.0]), ignore_index=255), ("pass", "")),
    ],
)
def test_void_that_counts_is_named(loss, found):
    assert seen(look_ignored, setup(small_map(), masks(void=True), loss)) == {found}


def test_targets_that_all_count_have_nothing_to_be_left_out():
    assert seen(look_ignored, setup(small_map(), masks(), CE)) == NONE


@pytest.mark.parametrize("counts_hidden", [True, False])
def test_hidden_joints_that_count_are_named(counts_hidden):
    joints = [
        (image, torch.cat([drawn(8, 2, 2), torch.tensor([[1.0], [0.0]]).expand(8, 2, 1)], 2)) for image, _ in classes()
    ]

    def loss(outputs, targets):
        error = (outputs - targets[..., :1, None]).square().mean((2, 3))
        return error.mean() if counts_hidden else (error * targets[..., 2]).sum() / targets[..., 2].sum()

    found = ("fail", "loss.ignored_counted") if counts_hidden else ("pass", "")
    assert seen(look_ignored, setup(small_map(2), joints, loss)) == {found}


def rare(weight):
    labels = torch.tensor([0] * 6 + [1] + [2])
    return setup(small_net(), [(image, labels) for image, _ in classes()], nn.CrossEntropyLoss(torch.tensor(weight)))


@pytest.mark.parametrize(
    ("weight", "cause"),
    [
        ([6.0, 1.0, 1.0], "loss.weights_inverted"),
        ([1 / 6, 1.0, 1.0], ""),
        ([0.1, 1.0, 1.2], ""),
        ([1.0, 1.0, 1.0], ""),
    ],
)
def test_class_weights_that_favour_the_frequent_are_named(weight, cause):
    assert seen(look_class_weights, rare(weight)) == {("fail" if cause else "pass", cause)}


def test_weights_of_other_classes_are_named_where_another_order_would_balance():
    labels = torch.tensor([0] * 27 + [1] * 9 + [2] * 3 + [3])
    train = [(drawn(40, 3, 12, 12), labels)]
    inverse = 1 / torch.bincount(labels).float()
    right, wrong = (nn.CrossEntropyLoss(weight) for weight in (inverse, inverse[[1, 3, 0, 2]]))
    assert seen(look_class_weights, setup(small_net(4), train, right)) == PASS
    assert seen(look_class_weights, setup(small_net(4), train, wrong)) == {("fail", "loss.weights_inverted")}


@pytest.mark.parametrize(("weight", "cause"), [(8.0, ""), (0.1, "loss.weights_inverted")])
def test_weight_of_yes_is_compared_with_its_frequency(weight, cause):
    rare_flags = [(image, (torch.arange(8) == 0).float()[:, None]) for image, _ in classes()]
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([weight]))
    found = seen(look_class_weights, setup(small_net(1), rare_flags, loss))
    assert found == {("fail" if cause else "pass", cause)}


class Unit(nn.Module):
    """Vectors of length 1, of each picture, or of both pictures of a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net(8)

    def forward(self, x):
        if x.ndim == 5:
            return torch.stack([self(x[:, 0]), self(x[:, 1])], 1)
        return F.normalize(self.net(x), dim=1)


def triplets(margin: float = 0.3, sign: float = 1.0):
    def loss(vectors, labels):
        distances = torch.cdist(vectors, vectors)
        same = labels[:, None] == labels
        far = distances.masked_fill(~same, -1).amax(1)
        near = distances.masked_fill(same, 9).amin(1)
        return F.relu(sign * (far - near) + margin).mean()

    return loss


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [(triplets(), "pass"), (triplets(-2.5), "fail"), (triplets(0.0), "fail"), (triplets(sign=-1.0), "fail")],
)
def test_triplets_without_effect_or_exchanged_are_named(loss, verdict):
    found = seen(look_pairs, setup(Unit(), classes(size=9), loss))
    assert found == {(verdict, "" if verdict == "pass" else "loss.pair_convention")}


@pytest.mark.parametrize("same", [0, 1])
@pytest.mark.parametrize("exchanged", [False, True])
def test_label_of_similar_pairs_is_seen_from_the_pictures(same, exchanged):
    is_same = torch.arange(8) % 2
    batches = []
    for i in range(8):
        first, other = drawn(8, 3, 12, 12, seed=i), drawn(8, 3, 12, 12, seed=90 + i)
        second = torch.where(is_same[:, None, None, None] == 1, first + 0.3 * other, other)
        batches.append((torch.stack([first, second], 1), (is_same if same else 1 - is_same).float()))

    def loss(vectors, label):
        distance = (vectors[:, 0] - vectors[:, 1]).norm(dim=1)
        together = label if bool(same) != exchanged else 1 - label
        return (together * distance**2 + (1 - together) * F.relu(1 - distance) ** 2).mean()

    found = ("fail", "loss.pair_convention") if exchanged else ("pass", "")
    assert seen(look_pairs, setup(Unit(), batches, loss)) == {found}


class Words(nn.Module):
    """Scores of 9 words at each position, of a picture and the words up to there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.embed, self.gru = small_net(8), nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True)
        self.words = nn.Linear(8, 9)

    def forward(self, image, words):
        return self.words(self.gru(self.embed(words), self.net(image)[None])[0])


def sentences():
    words = torch.randint(1, 9, (8, 7), generator=torch.Generator().manual_seed(0))
    words[:, 5:] = 0
    return [{"image": drawn(8, 3, 12, 12), "caption": words}]


def word_run(read, learn, **more):
    return setup(
        Words(),
        sentences(),
        lambda out, batch: F.cross_entropy(out.flatten(0, 1), batch["caption"][:, learn].flatten(), **more),
        forward=lambda net, batch: net(batch["image"], batch["caption"][:, read]),
    )


@pytest.mark.parametrize(
    ("read", "learn", "verdict"),
    [
        (slice(0, -1), slice(1, None), "pass"),
        (slice(0, None), slice(0, None), "fail"),
        (slice(0, -2), slice(2, None), "fail"),
        (slice(1, None), slice(0, -1), "fail"),
    ],
)
def test_word_that_is_learned_is_the_one_after_those_that_are_read(read, learn, verdict):
    found = seen(look_shift, word_run(read, learn, ignore_index=0))
    assert found == {(verdict, "" if verdict == "pass" else "loss.shifted_tokens")}


def test_padding_that_counts_is_named():
    run = word_run(slice(0, -1), slice(1, None))
    assert seen(look_ignored, run) == {("fail", "loss.ignored_counted")}
    run = word_run(slice(0, -1), slice(1, None), ignore_index=0)
    assert seen(look_ignored, run) == PASS


def decode(codes, *, halved: float = 1.0):
    middle, half = 8 * codes[:, :2] + 20, 8 * codes[:, 2:].exp() * halved
    return torch.cat([middle - half, middle + half], 1)


def overlap(one, other):
    size = (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp_min(0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).clamp_min(0).prod(1) for box in (one, other)]
    return size / (areas[0] + areas[1] - size).clamp_min(1e-6)


@pytest.mark.parametrize(
    ("loss", "read", "cause"),
    [
        ("codes", 1.0, ""),
        ("codes", 0.5, "loss.box_encoding"),
        ("overlap", 1.0, "loss.wrong_way"),
    ],
)
def test_boxes_are_decoded_as_they_were_encoded(loss, read, cause):
    boxes = decode(0.5 * drawn(8, 4))

    def of_codes(outputs, batch):
        middle, size = (
            (batch["boxes"][:, :2] + batch["boxes"][:, 2:]) / 2,
            batch["boxes"][:, 2:] - batch["boxes"][:, :2],
        )
        return F.smooth_l1_loss(outputs, torch.cat([(middle - 20) / 8, (size / 16).log()], 1))

    def of_overlap(outputs, batch):
        return overlap(decode(outputs), batch["boxes"]).mean()

    run = setup(
        small_net(4),
        [{"image": drawn(8, 3, 12, 12), "boxes": boxes}],
        of_codes if loss == "codes" else of_overlap,
        metric=lambda outputs, batch: overlap(decode(outputs, halved=read), batch["boxes"]).mean(),
    )
    assert seen(look_answers, run) == {("fail" if cause else "pass", cause)}


def test_figures_of_a_finding_are_those_that_were_measured():
    (found,) = look_scale(setup(small_net(), classes(), nn.CrossEntropyLoss(reduction="sum")))
    assert found.value == pytest.approx(2.0, rel=1e-4)
    assert f"{8 * math.log(3) / math.log(3):.3g} times log C" in found.about


def focal(outputs, targets):
    right = torch.where(targets > 0.5, outputs.sigmoid(), 1 - outputs.sigmoid())
    return (torch.where(targets > 0.5, 0.25, 0.75) * -right.log() * (1 - right) ** 2).mean()


def missing_overlap(outputs, targets):
    share = outputs.sigmoid()
    return 1 - (2 * (share * targets).sum() + 1) / (share.sum() + targets.sum() + 1)


@pytest.mark.parametrize("loss", [focal, missing_overlap])
def test_focal_and_overlap_losses_have_no_weights_of_classes_to_judge(loss):
    for flip in (False, True):
        run = setup(small_map(1), [(image, 1 - mask if flip else mask) for image, mask in binary()], loss)
        assert ("fail", "loss.weights_inverted") not in seen(look_class_weights, run)
        assert all(verdict != "fail" for verdict, _ in seen(look_direction, run) | seen(look_scale, run))


def test_squared_error_of_rare_ones_has_no_guess_to_compare_with():
    spots = [(image, (image[:, :1] > 2.5).float()) for image, _ in masks()]
    assert seen(look_output_at_start, setup(small_map(1), spots, F.mse_loss)) == NONE


def test_sum_over_a_fixed_number_of_samples_is_a_warning():
    run = setup(small_net(), classes(), lambda out, t: F.cross_entropy(out, t, reduction="sum") / 8)
    assert seen(look_scale, run) == {("warn", "loss.scale")}


def test_soft_masks_under_a_cross_entropy_of_probabilities_are_right():
    soft = [(image, 0.2 + 0.6 * mask) for image, mask in binary()]
    run = setup(with_end(small_map(1), nn.Sigmoid()), soft, nn.BCELoss())
    for look in (look_direction, look_scale, look_softmax, look_kind):
        assert all(verdict != "fail" for verdict, _ in seen(look, run))
