"""Which samples an epoch takes: what each order promises, and how it is cut for several processes."""

from collections import Counter
from itertools import chain

import pytest
import torch

from tests.data.loading import Numbers
from unpool.data.draws import permutation
from unpool.data.order import (
    ORDERS,
    Batching,
    ByRank,
    Grouped,
    PTimesK,
    Sequential,
    Shuffled,
    WeightedByClass,
    WholeBatches,
)
from unpool.errors import RecipeError

LABELS = [0] * 30 + [2] * 9 + [3] * 4 + [5] * 2 + [1] * 5  # nothing of class 4
SIZES = [(4, 6), (6, 4), (4, 6), (8, 8), (6, 4)] * 9 + [(4, 6)] * 5
N = 50
MAKERS = {
    "sequential": lambda seed: Sequential(N, batch=4, groups=SIZES),
    "shuffled": lambda seed: Shuffled(N, batch=4, seed=seed),
    "grouped": lambda seed: Grouped(SIZES, batch=4, seed=seed),
    "weighted": lambda seed: WeightedByClass(LABELS, batch=4, seed=seed),
    "p_times_k": lambda seed: PTimesK(LABELS, classes=2, samples=2, seed=seed),
}
ONCE = ("sequential", "shuffled", "grouped")
RANDOM = ("shuffled", "grouped", "weighted", "p_times_k")


def flat(batches):
    return list(chain.from_iterable(batches))


@pytest.mark.parametrize("name", MAKERS)
def test_epoch_is_a_pure_function_of_seed_and_epoch_and_leaves_torchs_generator_alone(name):
    state = torch.get_rng_state()
    order = MAKERS[name](3)
    later = order.batches(7)
    torch.manual_seed(11)
    assert MAKERS[name](3).batches(7) == later == order.batches(7)
    torch.set_rng_state(state)
    order.batches(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", RANDOM)
def test_seed_and_epoch_each_change_a_random_order(name):
    assert len({str(MAKERS[name](seed).batches(epoch)) for seed, epoch in ((0, 0), (1, 0), (0, 1))}) == 3


@pytest.mark.parametrize("name", MAKERS)
def test_every_epoch_has_as_many_batches_as_the_order_says(name):
    order = MAKERS[name](0)
    assert {len(order.batches(epoch)) for epoch in range(5)} == {order.steps_per_epoch}
    assert max(len(batch) for batch in order.batches(0)) == order.batch
    assert order.num_samples == N


@pytest.mark.parametrize("name", ONCE)
def test_every_sample_is_taken_once(name):
    for epoch in range(3):
        assert sorted(flat(MAKERS[name](0).batches(epoch))) == list(range(N))


def test_sequential_keeps_the_order_of_the_set():
    assert flat(Sequential(23, batch=4).batches(3)) == list(range(23))
    assert [len(batch) for batch in Sequential(10, batch=4).batches(0)] == [4, 4, 2]


def test_only_neighbours_of_one_group_share_a_sequential_batch():
    order = Sequential(14, batch=3, groups=[i // 5 % 2 for i in range(14)])
    assert order.batches(0) == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9], [10, 11, 12], [13]]
    with pytest.raises(ValueError, match="groups has 3 values and the set 14"):
        Sequential(14, batch=3, groups=[0, 1, 2])


def test_shuffled_is_the_permutation_of_seed_and_epoch():
    order = Shuffled(23, batch=4, seed=5)
    assert flat(order.batches(2)) == permutation(5, 2, 23).tolist()
    assert order.batches(0)[0] == [0, 17, 3, 8]  # as runs had it that may be resumed


@pytest.mark.parametrize("kind", [Sequential, Shuffled])
def test_drop_last_leaves_out_what_fills_no_batch(kind):
    seed = {} if kind is Sequential else {"seed": 0}
    order = kind(23, batch=4, drop_last=True, **seed)
    assert [len(batch) for batch in order.batches(0)] == [4] * 5
    assert order.steps_per_epoch == 5
    assert kind(23, batch=4, **seed).steps_per_epoch == 6


def test_grouped_batches_hold_one_group_and_come_in_any_order():
    batches = Grouped(SIZES, batch=4, seed=0).batches(0)
    groups = [{SIZES[i] for i in batch} for batch in batches]
    assert {len(group) for group in groups} == {1}
    assert groups != sorted(groups, key=str)


def test_grouped_shuffles_the_samples_of_a_group_across_its_batches():
    order = Grouped([0] * N, batch=4, seed=0)
    first, second = ({frozenset(batch) for batch in order.batches(epoch)} for epoch in (0, 1))
    assert first != second


def test_grouped_drops_the_rest_of_each_group():
    order = Grouped(SIZES, batch=4, seed=0, drop_last=True)  # 23, 18 and 9 of a size
    assert [len(batch) for batch in order.batches(1)] == [4] * (5 + 4 + 2)
    assert order.steps_per_epoch == 11


def test_grouped_counts_the_samples_that_no_epoch_uses():
    groups = [0] * 9 + [1] * 3 + [2] * 2
    order = Grouped(groups, batch=4, seed=0, drop_last=True)
    used = {i for epoch in range(50) for i in flat(order.batches(epoch))}
    assert used == set(range(9))
    assert order.never_used == 14 - len(used)
    assert Grouped(groups, batch=4, seed=0).never_used == 0


def test_weighted_draws_all_classes_that_have_samples_equally_often():
    order = WeightedByClass(LABELS, batch=4, seed=0)
    drawn = Counter(LABELS[i] for epoch in range(400) for i in flat(order.batches(epoch)))
    assert sorted(drawn) == [0, 1, 2, 3, 5]
    for count in drawn.values():
        assert count / (400 * N) == pytest.approx(1 / 5, abs=0.01)


def test_weighted_draws_classes_by_their_weights_and_their_samples_evenly():
    order = WeightedByClass(LABELS, batch=4, seed=0, weights=[0.5, 0, 1.5, 0, 0, 0])
    drawn = Counter(flat(flat(order.batches(e)) for e in range(400)))
    assert {LABELS[i] for i in drawn} == {0, 2}
    total = sum(drawn.values())
    assert sum(n for i, n in drawn.items() if LABELS[i] == 2) / total == pytest.approx(0.75, abs=0.01)
    for i in range(30, 39):
        assert drawn[i] / total == pytest.approx(0.75 / 9, abs=0.01)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 1.0], "2 weights for 6 classes"),
        ([1, 1, 1, 1, 1, 1], "have a weight and no sample"),
        ([1, -1, 0, 0, 0, 0], "none negative"),
        ([0] * 6, "not all 0"),
        ([float("nan")] * 6, "finite"),
    ],
)
def test_weights_that_say_nothing_are_refused(weights, words):
    with pytest.raises(RecipeError, match=words):
        WeightedByClass(LABELS, batch=4, seed=0, weights=weights)


def test_p_times_k_has_k_samples_of_each_of_p_classes():
    order = PTimesK(LABELS, classes=3, samples=4, seed=0)
    assert order.batch == 12
    assert order.steps_per_epoch == 4
    for epoch in range(20):
        for batch in order.batches(epoch):
            runs = [batch[i : i + 4] for i in (0, 4, 8)]
            assert all(len({LABELS[i] for i in run}) == 1 for run in runs)
            assert len({LABELS[run[0]] for run in runs}) == 3
            for run in runs:  # class 5 has two samples: each is there twice
                assert len(set(run)) == (2 if LABELS[run[0]] == 5 else 4)


def test_p_times_k_takes_a_class_once_a_round_and_other_samples_until_all_were_taken():
    order = PTimesK([0] * 12 + [1] * 12, classes=1, samples=4, seed=3)
    batches = order.batches(0)
    labels = [i // 12 for batch in batches for i in batch[:1]]
    assert [sorted(labels[i : i + 2]) for i in (0, 2, 4)] == [[0, 1]] * 3
    assert sorted(flat(batches)) == list(range(24))


def test_p_times_k_takes_classes_evenly_though_some_wait_for_the_next_round():
    order = PTimesK([i % 5 for i in range(400)], classes=2, samples=2, seed=0)
    taken = Counter(i % 5 for epoch in range(10) for i in flat(order.batches(epoch)))
    assert min(taken.values()) > 0.8 * max(taken.values())


def test_p_times_k_refuses_more_classes_than_there_are():
    with pytest.raises(RecipeError, match=r"a batch of 6 classes, but the set has 5: .* train.batch=10 at most"):
        PTimesK(LABELS, classes=6, samples=2, seed=0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", MAKERS)
def test_ranks_together_take_each_batch_once_whatever_their_number(name, world_size):
    whole = MAKERS[name](0)
    ranks = [ByRank(whole, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {rank.steps_per_epoch for rank in ranks} == {whole.steps_per_epoch}
    for position, (batch, *shares) in enumerate(
        zip(whole.batches(1), *(rank.batches(1) for rank in ranks), strict=True)
    ):
        parts = [rank.part(1, position) for rank in ranks]
        assert max(part.count for part in parts) - min(part.count for part in parts) <= 1
        assert max(map(len, shares)) <= ranks[0].batch
        assert {part.total for part in parts} == {len(batch)}
        assert flat([batch[part.first : part.first + part.count] for part in parts]) == batch
        for part, share in zip(parts, shares, strict=True):  # without samples of its own a rank has one of another's
            assert share == (batch[part.first : part.first + part.count] or batch[:1])


@pytest.mark.parametrize("world_size", [1, 2, 3, 12])
def test_ranks_together_take_whole_batches_once(world_size):
    whole = Sequential(20, batch=3)
    ranks = [WholeBatches(whole, rank=rank, world_size=world_size) for rank in range(world_size)]
    taken = [rank.batches(0) for rank in ranks]
    assert sorted(flat(taken)) == whole.batches(0)
    assert [rank.steps_per_epoch for rank in ranks] == [len(batches) for batches in taken]


def test_ranks_of_p_times_k_hold_whole_classes():
    order = PTimesK([i // 8 for i in range(64)], classes=4, samples=2, seed=0)
    for part in (ByRank(order, rank=rank, world_size=2) for rank in (0, 1)):
        for batch in part.batches(0):
            assert sorted(Counter(i // 8 for i in batch).values()) == [2, 2]


def test_rank_outside_of_the_world_is_refused():
    with pytest.raises(ValueError, match="rank is 2 and world_size 2"):
        ByRank(Sequential(4, batch=2), rank=2, world_size=2)


@pytest.mark.parametrize("batch", [0, -1])
def test_batch_without_samples_is_refused(batch):
    with pytest.raises(RecipeError, match=f"batch is {batch}"):
        Sequential(4, batch=batch)


def test_rows_take_labels_and_sizes_from_the_set():
    numbers, batching = Numbers(24), Batching(batch=4, seed=0, drop_last=True)
    assert ORDERS["shuffled"](numbers, batching).batches(0) == Shuffled(24, batch=4, seed=0).batches(0)
    assert Counter(i % 2 for i in ORDERS["p_times_k"](numbers, batching, per_class=2).batches(0)[0]) == {0: 2, 1: 2}
    assert {i % 2 for i in flat(ORDERS["weighted"](numbers, batching, weights=[0, 1]).batches(0))} == {1}
    with pytest.raises(RecipeError, match=r"a batch has 4 images and data.order p_times_k takes 3 of each class"):
        ORDERS["p_times_k"](numbers, batching, per_class=3)


def test_grouping_by_aspect_joins_sizes_of_about_one_shape():
    numbers = Numbers(4)
    numbers.sizes_hw = [(100, 100), (210, 200), (100, 200), (200, 100)]
    batching = Batching(batch=4, seed=0, drop_last=False)
    by_aspect = ORDERS["grouped"](numbers, batching, by="aspect").batches(0)
    assert sorted(map(sorted, by_aspect)) == [[0, 1], [2], [3]]
    assert len(ORDERS["grouped"](numbers, batching).batches(0)) == 4


def test_groups_that_are_all_smaller_than_a_batch_are_refused_with_the_largest():
    numbers = Numbers(5)
    numbers.sizes_hw = [(10, 10), (10, 10), (10, 20), (20, 10), (30, 10)]
    with pytest.raises(RecipeError, match=r"at most 2 images, a batch has 4, .*train.batch=2 or train.drop_last=false"):
        ORDERS["grouped"](numbers, Batching(batch=4, seed=0, drop_last=True))
    assert ORDERS["grouped"](numbers, Batching(batch=2, seed=0, drop_last=True)).steps_per_epoch == 1


def test_order_by_class_of_a_set_without_labels_is_refused_with_the_reason():
    numbers = Numbers(4)
    numbers.gives = ("image", "mask")
    with pytest.raises(RecipeError, match="goes by the label of each image, and the set gives image, mask only"):
        ORDERS["weighted"](numbers, Batching(batch=4, seed=0, drop_last=False))


def test_rounds_of_classes_keep_the_streams_of_runs_that_may_be_resumed():
    labels = [0, 1, 2, 3, 4] * 3
    batches = PTimesK(labels, classes=5, samples=1, seed=7).batches(2)
    for number, batch in enumerate(batches):  # one round each, of 1 stream for the classes and 5 for their samples
        order = permutation(7, 2, 5, stream=4 + 6 * number).tolist()
        assert [labels[i] for i in batch] == order
        assert [i // 5 for i in batch] == [permutation(7, 2, 3, stream=5 + c).tolist()[number] for c in order]


def test_samples_of_a_class_are_those_of_its_permutation_in_turn():
    order = permutation(7, 2, 5, stream=4 + 1).tolist()  # of the only class, in the first round
    assert PTimesK([0] * 5, classes=1, samples=2, seed=7).batches(2) == [order[:2], order[2:4]]
    few = PTimesK([0] * 5, classes=1, samples=12, seed=7).batches(2)
    assert few == [[*order, *order, *order[:2]]], "repeated in turn where they are fewer than K"
