"""Verification, identification and rejection, held to scikit-learn and to sets made by hand."""

import numpy as np
import pytest
import torch

from unpool.metrics import embedding as metric
from unpool.metrics.embedding import EmbeddingScores
from unpool.metrics.identification import cmc, distances_to_people, open_set, ranks_of
from unpool.metrics.verification import (
    accuracy,
    area,
    best_threshold,
    interval_over_people,
    roc_of,
    tar_at,
)
from unpool.ops.embedding_losses import unit
from unpool.types import CALIBRATING, ENROLLED, MEASURED, PAIRED


def pairs(count=400, seed=0):
    """Distances in steps, so that many are equal, of pairs of one person and of two."""
    rng = np.random.default_rng(seed)
    is_same = rng.random(count) < 0.3
    return np.round(rng.normal(np.where(is_same, 0.9, 1.2), 0.25), 2).clip(0), is_same


def at(*angles):
    """Unit vectors by their angle, whose distances rise with the difference."""
    angle = torch.tensor(angles)
    return torch.stack([angle.cos(), angle.sin()], 1)


def batch(people, roles=None, links=None):
    count = len(people)
    values = {"identity": torch.tensor(people), "index": torch.arange(count), "position": torch.arange(count)}
    if roles is not None:
        values["role"] = torch.tensor(roles)
    if links is not None:
        values["pairs"] = [torch.tensor(links.get(i, []), dtype=torch.int64).reshape(-1, 3) for i in range(count)]
    return values


def scored(embedding, *facts, threshold=None, **more):
    scores = EmbeddingScores(threshold)
    scores.update({"embedding": embedding}, batch(*facts, **more))
    return scores.compute()


def test_roc_and_its_area_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    distance, is_same = pairs()
    roc = roc_of(distance, is_same)
    assert area(roc) == pytest.approx(metrics.roc_auc_score(is_same, -distance))
    far, tar, _ = metrics.roc_curve(is_same, -distance, drop_intermediate=False)
    np.testing.assert_allclose(roc.far, far)
    np.testing.assert_allclose(roc.tar, tar)
    for rate in (0.1, 0.05, 0.01):
        assert tar_at(roc, rate, others=int((~is_same).sum())) == pytest.approx(tar[far <= rate].max())
    at_best = accuracy(distance, is_same, best_threshold(distance, is_same))
    assert at_best == pytest.approx(0.5 + (tar - far).max() / 2)
    assert accuracy(distance, is_same, 1.0) == pytest.approx(metrics.balanced_accuracy_score(is_same, distance <= 1.0))


def test_roc_and_its_area_are_those_counted_pair_by_pair():
    distance, is_same = pairs(120)
    roc, (mine, others) = roc_of(distance, is_same), (distance[is_same], distance[~is_same])
    wins = [(a < b) + 0.5 * (a == b) for a in mine for b in others]
    assert area(roc) == pytest.approx(np.mean(wins))
    assert roc.threshold.tolist() == [-np.inf, *np.unique(distance).tolist()]
    for threshold, far, tar in zip(*roc, strict=True):
        assert (far, tar) == ((others <= threshold).mean(), (mine <= threshold).mean())
    for rate in (0.1, 0.05):
        assert tar_at(roc, rate, others=len(others)) == max(
            (mine <= t).mean() for t in distance if (others <= t).mean() <= rate
        )
    best = max((mine <= t).mean() + (others > t).mean() for t in distance) / 2
    assert accuracy(distance, is_same, best_threshold(distance, is_same)) == pytest.approx(best)


def test_rate_of_fewer_than_one_pair_is_not_measured():
    distance, is_same = pairs()
    others = int((~is_same).sum())
    assert tar_at(roc_of(distance, is_same), 0.001, others=others) is None


def test_threshold_lies_between_the_kinds_and_is_that_of_the_pairs_it_is_chosen_on():
    assert best_threshold(np.array([0.2, 0.3, 0.8]), np.array([True, True, False])) == pytest.approx(0.55)
    assert best_threshold(np.array([0.2, 0.3]), np.array([False, True])) < 0.35


def test_interval_over_people_holds_the_accuracy_and_is_wider_where_a_person_stands_in_many_pairs():
    distance, is_same = pairs(200)
    alone = np.arange(400).reshape(200, 2)
    alone[is_same, 1] = alone[is_same, 0]
    few = alone % 12
    few[~is_same, 1] = (few[~is_same, 0] + 1) % 12
    few[is_same, 1] = few[is_same, 0]
    value = accuracy(distance, is_same, 1.05)
    ends = [interval_over_people(distance, is_same, 1.05, people) for people in (alone, few)]
    assert all(low < value < high for low, high in ends)
    assert ends == [interval_over_people(distance, is_same, 1.05, people) for people in (alone, few)]


def test_threshold_of_each_fold_is_chosen_on_the_other_folds():
    """Fold 1 has its kinds at 0.5 and 0.6, fold 2 at 0.1 and 0.9: the one's threshold misjudges the other."""
    embedding = at(0.0, 0.1, 1.0, 1.4, 0.0, 0.5, 1.0, 1.55)
    people = [0, 0, 1, 2, 3, 3, 4, 5]
    links = {0: [(1, 1, 0)], 2: [(3, 0, 0)], 4: [(5, 1, 1)], 6: [(7, 0, 1)]}
    scores = scored(embedding, people, links=links)
    assert scores["fold_accuracy"] == {"fold 1": 0.5, "fold 2": 0.5}
    assert (scores["pair_accuracy"], scores["pair_auc"]) == (0.5, 0.75)


def test_calibrating_pairs_choose_the_threshold_and_are_not_measured():
    embedding = at(0.0, 0.1, 0.0, 0.5, 0.0, 0.2, 1.0, 1.9)
    people = [0, 0, 1, 2, 3, 3, 4, 5]
    links = {0: [(1, 1, CALIBRATING)], 2: [(3, 0, CALIBRATING)], 4: [(5, 1, 0)], 6: [(7, 0, 0)]}
    scores = scored(embedding, people, [PAIRED] * 8, links)
    assert scores["pair_threshold"] == pytest.approx(sum(2 * np.sin(np.array([0.1, 0.5]) / 2)) / 2, abs=1e-6)
    assert scores["pair_accuracy"] == 1.0
    assert scores["pair_counts"] == {"same": 1, "different": 1, "calibrating": 2, "unreadable": 0}
    assert scores["rank1"] is None


def test_where_all_given_pairs_choose_the_threshold_measured_and_enrolled_images_are_the_pairs():
    embedding = at(0.0, 0.1, 0.0, 0.5, 0.0, 1.5, 0.2, 1.0)
    people = [4, 4, 5, 6, 0, 1, 0, 7]
    links = {0: [(1, 1, CALIBRATING)], 2: [(3, 0, CALIBRATING)]}
    scores = scored(embedding, people, [PAIRED] * 4 + [ENROLLED] * 2 + [MEASURED] * 2, links)
    assert scores["pair_counts"] == {"same": 1, "different": 3, "calibrating": 2, "unreadable": 0}
    assert (scores["pair_auc"], scores["pair_accuracy"]) == (1.0, 1.0)


@pytest.mark.parametrize(("roles", "drawn"), [(None, 45), ([ENROLLED] * 4 + [MEASURED] * 6, 24)])
def test_so_many_pairs_are_drawn_in_parts_and_no_more_than_the_most(roles, drawn, monkeypatch):
    embedding, people = at(*np.linspace(0, 3, 10).tolist()), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    whole = scored(embedding, people, roles)
    monkeypatch.setattr(metric, "_AT_ONCE", 7)
    assert scored(embedding, people, roles) == whole
    assert whole["pair_counts"]["same"] + whole["pair_counts"]["different"] == drawn
    monkeypatch.setattr(metric, "MOST_PAIRS", 13)
    counts = scored(embedding, people, roles)["pair_counts"]
    assert 8 <= counts["same"] + counts["different"] <= 13


def test_embedding_that_is_not_finite_is_said_and_no_image_is_found_or_left_out_by_it(caplog):
    embedding = at(0.0, 1.0, 2.0, 0.0, 1.0, 2.0)
    embedding[3] = torch.nan
    scores = scored(embedding, [0, 1, 2, 0, 1, 2], [ENROLLED] * 3 + [MEASURED] * 3, threshold=0.2)
    assert {scores[name] for name in ("rank1", "pair_auc", "pair_threshold", "strangers_auc")} == {None}
    assert "the embeddings of 1 images are not finite" in caplog.text


def test_without_other_pairs_the_threshold_is_that_of_training_and_none_is_chosen_on_the_measured_ones():
    embedding, people = at(0.0, 0.1, 1.0, 1.4), [0, 0, 1, 2]
    links = {0: [(1, 1, 0)], 2: [(3, 0, 0)]}
    assert scored(embedding, people, links=links)["pair_accuracy"] is None
    assert scored(embedding, people, links=links, threshold=0.05)["pair_accuracy"] == 0.5
    assert scored(embedding, people, links=links, threshold=0.2)["pair_accuracy"] == 1.0


def test_pair_of_an_image_that_could_not_be_read_is_left_out_and_counted():
    scores = EmbeddingScores()
    links = {0: [(1, 1, 0)], 2: [(3, 0, 0), (9, 1, 0)]}
    scores.update({"embedding": at(0.0, 0.1, 1.0, 1.4)}, batch([0, 0, 1, 2], links=links))
    assert scores.compute()["pair_counts"]["unreadable"] == 1


def test_people_are_found_by_their_nearest_enrolled_image_and_strangers_are_rejected_by_distance():
    embedding = at(0.0, 2.0, 1.0, 0.1, 1.9, 0.7, 3.0)
    people = [0, 0, 1, 0, 0, 1, 9]
    scores = scored(embedding, people, [ENROLLED] * 3 + [MEASURED] * 4, threshold=0.2)
    assert scores["rank1"] == 1.0
    assert scores["search_counts"] == {"images": 3, "people": 2, "strangers": 1}
    assert scores["strangers_rejected"] == 1.0
    assert scores["known_accepted"] == pytest.approx(2 / 3)
    assert scores["strangers_auc"] == 1.0
    assert scores["pair_auc"] is not None


def test_without_enrolled_images_each_is_searched_among_all_others_and_never_itself():
    scores = scored(at(0.0, 1.5, 0.2, 1.45, 3.1), [0, 0, 1, 1, 2])
    assert scores["search_counts"]["images"] == 4
    assert scores["rank1"] == 0.0
    assert scores["cmc"] == {"rank 1": 0.0, "rank 2": 1.0, "rank 3": 1.0}


def test_rank_counts_the_people_who_are_as_near_and_equal_distances_go_against_the_truth():
    distance = np.array([[0.3, 0.1, 0.2], [0.5, 0.5, 0.9]])
    assert ranks_of(distance, np.array([4, 7, 9]), np.array([4, 4])).tolist() == [3, 2]


def test_ranks_are_those_of_scikit_learn():
    neighbours = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(0)
    enrolled, probes = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    people, truth = rng.permutation(np.arange(30) % 10), rng.integers(0, 10, 50)
    model = neighbours.KNeighborsClassifier(1).fit(enrolled, people)
    distance = np.linalg.norm(probes[:, None] - enrolled[None], axis=2)
    to_people, known = distances_to_people(distance, people)
    ranks = ranks_of(to_people, known, truth)
    assert cmc(ranks, 1)[0] == pytest.approx(model.score(probes, truth))


def test_acceptance_needs_the_right_name():
    known, ranks, strangers = np.array([0.1, 0.1]), np.array([1, 2]), np.array([0.5])
    assert open_set(known, ranks, strangers, 0.3)[:2] == (1.0, 0.5)


def test_parts_of_a_set_merged_in_any_order_give_what_the_whole_gives():
    embedding = unit(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)))
    links = {1: [(2, 1, 0)], 4: [(8, 0, 0)], 7: [(2, 0, 0)], 10: [(11, 1, 0)]}
    whole = batch([i // 3 for i in range(12)], [ENROLLED, MEASURED, MEASURED] * 4, links)
    expected = EmbeddingScores()
    expected.update({"embedding": embedding}, whole)
    parts = []
    for start in (8, 0, 4):
        parts.append(EmbeddingScores())
        part = {key: value[start : start + 4] for key, value in whole.items()}
        parts[-1].update({"embedding": embedding[start : start + 4]}, part)
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    assert parts[0].compute() == expected.compute()
    assert expected.compute()["rank1"] is not None
    assert expected.compute()["pair_counts"]["same"] == expected.compute()["pair_counts"]["different"] == 2
