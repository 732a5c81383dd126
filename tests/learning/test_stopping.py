"""Stopping criteria against hand arithmetic, brute force, scipy and scikit-learn."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from dami_text.learning.hypergeometric import at_most
from dami_text.learning.stopping import (
    Budget,
    ClassificationChange,
    EstimatedRecall,
    Evidence,
    ExpectedGain,
    MaximumUncertainty,
    OverallUncertainty,
    StablePredictions,
    kappa,
    normalized_entropy,
    rounds_stopped,
    stops,
)


def rounds(*predictions, **others):
    """The history of these predictions."""
    return [Evidence(n_labeled=20 * (i + 1), predictions=each, **others) for i, each in enumerate(predictions)]


def from_table(table):
    """Two models' predictions whose contingency table this is."""
    table = np.array(table)
    first, second = np.indices(table.shape)
    return first.ravel().repeat(table.ravel()), second.ravel().repeat(table.ravel())


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),  # A = 35/50, E = 25/50 * 30/50 + 25/50 * 20/50 = 0.5
        ([[45, 15], [25, 15]], (0.6 - 0.54) / 0.46),  # E = .6 * .7 + .4 * .3
        ([[10, 0, 0], [0, 20, 0], [0, 0, 70]], 1.0),
        ([[0, 10], [10, 0]], -1.0),  # A = 0, E = 0.5
        ([[0, 0], [30, 70]], 0.0),  # the first says one class alone: A = E = 0.7
    ],
)
def test_kappa_by_hand(table, expected):
    assert kappa(*from_table(table)) == pytest.approx(expected)
    assert kappa(*reversed(from_table(table))) == pytest.approx(expected)


def test_kappa_is_that_of_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    for n_classes in (2, 3, 77):
        first = rng.integers(n_classes, size=400)
        second = np.where(rng.random(400) < 0.9, first, rng.integers(n_classes, size=400))
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_models_that_say_one_and_the_same_class_alone_have_no_kappa_and_have_not_settled():
    one = np.full(50, 3)
    assert math.isnan(kappa(one, one))
    assert math.isnan(kappa(one[:0], one[:0]))
    assert not stops(StablePredictions(), rounds(*[one] * 10))
    assert math.isnan(StablePredictions().value(rounds(*[one] * 10)))


def predictions_with(changes, n=1000):
    """Predictions of half 0 and half 1, in which so many texts of either class have changed places."""
    predicted = np.arange(n) % 2
    predicted[:changes] = 1 - predicted[:changes]
    return predicted


def test_the_mean_of_the_last_three_kappas_decides():
    # Of n texts in two halves, 2 c of which differ, A = 1 - 2 c / n and E = 1/2: kappa is 1 - 4 c / n.
    same, moved = predictions_with(0), predictions_with(10)  # 10 of 1000 differ: kappa 0.98
    criterion = StablePredictions()
    assert kappa(same, moved) == pytest.approx(0.98)
    assert criterion.value(rounds(same, same, same)) is None  # three kappas take four rounds
    assert criterion.value(rounds(same, same, same, moved)) == pytest.approx((1 + 1 + 0.98) / 3)
    assert stops(criterion, rounds(same, same, same, moved))  # 0.9933: one kappa below the cutoff does not matter
    assert not stops(criterion, rounds(same, moved, same, same))  # 0.98, 0.98, 1: 0.9867
    assert stops(StablePredictions(threshold=0.98), rounds(same, moved, same, same))
    assert stops(StablePredictions(window=1), rounds(moved, same, same))


def test_the_threshold_itself_is_enough():
    history = rounds(*[predictions_with(0)] * 3)
    exact = StablePredictions(threshold=1.0, window=2)
    assert stops(exact, history)
    assert not stops(exact, [*history, *rounds(predictions_with(2))])


def test_rounds_in_a_row_are_counted_from_the_last():
    same, moved = predictions_with(0), predictions_with(100)
    criterion = StablePredictions(window=1)
    assert rounds_stopped(criterion, []) == 0
    assert rounds_stopped(criterion, rounds(same, same, moved, moved, moved)) == 2
    assert rounds_stopped(criterion, rounds(same, same, moved)) == 0
    assert rounds_stopped(criterion, rounds(*[same] * 5)) == 4


# Change and uncertainty --------------------------------------------------------------------------------------------


def test_only_texts_that_are_left_count_as_changed():
    first = Evidence(n_labeled=2, predictions=np.array([0, 0, 1, 1, 1]), unlabeled=np.ones(5, bool))
    left = np.array([False, True, True, True, True])  # the first text was labelled, and that changed its prediction
    same = Evidence(n_labeled=3, predictions=np.array([1, 0, 1, 1, 1]), unlabeled=left)
    other = Evidence(n_labeled=4, predictions=np.array([1, 0, 1, 1, 0]), unlabeled=left)
    none = Evidence(n_labeled=5, predictions=other.predictions, unlabeled=np.zeros(5, bool))
    paper = ClassificationChange()
    assert paper.value([first]) is None
    assert paper.value([first, same]) == 0
    assert stops(paper, [first, same])
    assert paper.value([first, same, other]) == 1 / 4
    assert not stops(paper, [first, same, other])
    assert stops(ClassificationChange(threshold=0.25), [first, same, other])
    assert paper.value([other, none]) is None, "where nothing is left, nothing is known"


def test_entropy_is_a_share_of_the_most_that_there_can_be():
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))  # of one bit
    found = normalized_entropy(np.array([[0.5, 0.5], [0.25, 0.75], [0, 1]], np.float32))
    assert found.tolist() == pytest.approx([1, quarter, 0])
    found = normalized_entropy(np.array([[1 / 3] * 3, [0.5, 0.5, 0]]))
    assert found.tolist() == pytest.approx([1, math.log(2) / math.log(3)])


def test_uncertainty_stops_at_the_threshold_and_below():
    def at(mean, largest):
        return rounds(np.zeros(3, int), mean_entropy=mean, max_entropy=largest)

    assert stops(OverallUncertainty(), at(0.1, 0.9))
    assert not stops(OverallUncertainty(), at(0.11, 0.9))
    assert stops(MaximumUncertainty(threshold=0.5), at(0.01, 0.5))
    assert not stops(MaximumUncertainty(), at(0.01, 0.5))
    assert not stops(OverallUncertainty(), at(None, None))


def test_the_budget_is_a_number_of_labels():
    history = rounds(*[np.zeros(3, int)] * 3)  # 20, 40 and 60 labels
    assert [stops(Budget(40), history[: i + 1]) for i in range(3)] == [False, True, True]


# Gain --------------------------------------------------------------------------------------------------------------


def test_the_expected_gain_is_that_of_a_tenth_of_the_labels_kept_out():
    from dami_text.learning.projected_gain import projected_gain

    rng = np.random.default_rng(0)
    sizes = [360, 400, 440, 480, 520]
    hits = [rng.random(80) < share for share in (0.6, 0.7, 0.75, 0.8, 0.82)]
    history = [
        Evidence(n_labeled=n, predictions=np.zeros(1, int), hits=hit) for n, hit in zip(sizes, hits, strict=True)
    ]
    kept_out = 57  # of 577 labels in all a tenth, and 520 to train on
    expected = projected_gain(np.array(sizes), np.array(hits)[:, :kept_out])
    assert ExpectedGain().value(history) == 100 * expected.value
    assert stops(ExpectedGain(threshold=100 * expected.value), history)
    assert not stops(ExpectedGain(threshold=100 * expected.value - 0.01), history)
    assert ExpectedGain().value(history[:3]) is None, "four rounds, and 50 texts kept out, are the least"
    assert ExpectedGain().value(history[:4]) == 100 * projected_gain(np.array(sizes[:4]), np.array(hits)[:4, :53]).value
    few = [
        Evidence(n_labeled=n - 80, predictions=np.zeros(1, int), hits=hit) for n, hit in zip(sizes, hits, strict=True)
    ]
    assert ExpectedGain().value(few) is None
    assert ExpectedGain().value(rounds(np.zeros(1, int))) is None


# Recall ------------------------------------------------------------------------------------------------------------


def test_the_hypergeometric_probability_by_counting_all_draws():
    for total, among, draws in [(7, 3, 4), (6, 0, 3), (6, 6, 2), (8, 5, 5), (5, 2, 0)]:
        drawn = [sum(i < among for i in rows) for rows in combinations(range(total), draws)]
        for hits in range(draws + 1):
            expected = Fraction(sum(n <= hits for n in drawn), len(drawn))
            assert at_most(hits, draws, among, total)[0] == pytest.approx(float(expected), abs=1e-12)


def test_the_hypergeometric_probabilities_of_many_at_once_are_those_of_scipy():
    from scipy.stats import hypergeom

    rng = np.random.default_rng(0)
    total = rng.integers(1, 3000, 300)
    draws, among = (rng.integers(0, total + 1) for _ in range(2))
    hits = rng.integers(0, 60, 300)
    assert at_most(hits, draws, among, total) == pytest.approx(hypergeom.cdf(hits, total, among, draws), abs=1e-9)


def recall_met(labels, n_texts, target):
    """The test of Callaghan and Mueller-Hansen as it stands in the paper, with every number of last labels."""
    from scipy.stats import hypergeom

    found = int(sum(labels))
    wanted = Fraction(found) / Fraction(str(target))
    for n in range(1, len(labels) + 1):
        in_sample = int(sum(labels[-n:]))
        among = math.floor(wanted - (found - in_sample) + 1)  # the fewest for which less than the target is found
        population = n_texts - (len(labels) - n)
        if among > population or hypergeom.cdf(in_sample, population, among, n) < 0.05:
            return True  # there cannot be so many, or they would have been drawn
    return False


def evidence_of(labels, n_texts):
    labels = np.array(labels)
    return [Evidence(n_labeled=len(labels), predictions=np.zeros(1, int), labels=labels, n_texts=n_texts)]


def test_the_recall_by_hand():
    # 2 of the class are found first, then 5 others of the 8 that were left; 3 are left now. With 3 of the class
    # in all, the 5 miss the third with a probability of 3/8. With 4 they miss both with 3/8 * 2/7 = 0.107, and with 5
    # all three with 3/8 * 2/7 * 1/6 = 0.018 < 5%. So there are 4 at most, and 2 of 4 are found.
    history = evidence_of([1, 1, 0, 0, 0, 0, 0], 10)
    assert EstimatedRecall(label=1).value(history) == 2 / 4
    assert stops(EstimatedRecall(threshold=0.5), history)
    assert not stops(EstimatedRecall(threshold=0.51), history)


def test_the_recall_is_that_of_the_paper_for_every_number_of_last_labels():
    rng = np.random.default_rng(0)
    met = 0
    for _ in range(60):
        n_texts, rate = int(rng.integers(60, 500)), rng.uniform(0.02, 0.3)
        labels = (rng.random(int(rng.integers(20, n_texts + 1))) < rate).astype(int)
        labels[int(len(labels) * rng.uniform(0.1, 0.9)) :] *= rng.random() < 0.5  # often the class is used up
        for target in (0.5, 0.8, 0.95, 1.0):
            if labels.any():
                expected = recall_met(labels, n_texts, target)
                assert stops(EstimatedRecall(threshold=target, label=1), evidence_of(labels, n_texts)) == expected
                met += expected
    assert 20 < met < 220, "both answers are there"


def test_where_all_is_labelled_all_is_found_and_where_nothing_is_nothing_is_known():
    assert EstimatedRecall().value(evidence_of([0, 1, 0], 3)) == 1
    assert EstimatedRecall(label=2).value(evidence_of([0, 1, 0], 3)) is None
    assert EstimatedRecall().value(rounds(np.zeros(1, int))) is None


def test_the_class_with_the_fewest_labels_is_the_one_to_find():
    labels = [0, 0, 0, 2, 2, 2, 2, 4, 4, 0, 0, 2]
    found = EstimatedRecall().value(evidence_of(labels, 20))
    assert found == EstimatedRecall(label=4).value(evidence_of(labels, 20))
    assert found != EstimatedRecall(label=2).value(evidence_of(labels, 20))


def test_recall_does_not_stop_too_early_where_the_likeliest_texts_are_asked_for():
    rng = np.random.default_rng(0)
    criterion, n_texts, n_class = EstimatedRecall(threshold=0.8, label=1), 600, 30
    weights = np.where(np.arange(n_texts) < n_class, 8, 1)  # a text of the class is eight times as likely to come next
    ended = []
    for _ in range(20):
        labels = (np.argsort(rng.exponential(size=n_texts) / weights) < n_class).astype(int)
        n = next(n for n in range(20, n_texts + 1, 20) if stops(criterion, evidence_of(labels[:n], n_texts)))
        assert labels[:n].sum() >= 0.8 * n_class
        ended.append(n)
    assert np.mean(ended) < 0.75 * n_texts, "and it stops"
