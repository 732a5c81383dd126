"""Trials of strategies on labels that are there: by hand, and against what a learner does without them."""

import numpy as np
import pytest
from datasets import Dataset
from trial_strategies import Recorder

from dami_text import make_learner
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, DataError
from dami_text.learning.preparation import encoded_pool
from dami_text.simulation.crossfit import FOLDS, Trial, folds, n_curves, trial

RECORDER = "trial_strategies:Recorder"


def texts_of(n=90):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    words = [["dull", "weak", "flat"], ["lively", "fine", "warm"]]
    texts = [f"a {rng.choice(words[c])} film about item{i} and thing{rng.integers(9)}" for i, c in enumerate(labels)]
    return texts, labels


@pytest.fixture(scope="module")
def pool():
    """90 texts, of which the first 60 are taken to be labelled, and all labels."""
    texts, labels = texts_of()
    return encoded_pool(Dataset.from_dict({"text": texts}), ["neg", "pos"], RunConfig.of(model="linear")), labels


def test_the_interval_by_hand():
    # Of three folds and two seeds. Two rounds: the area is the mean of both. By fold .1, .2 and .3 more than random.
    base = np.full((3, 2, 2), 0.5)
    more = np.array([[[0.0, 0.2], [0.1, 0.1]], [[0.2, 0.2], [0.1, 0.3]], [[0.3, 0.3], [0.2, 0.4]]])
    found = Trial(sizes=[10, 20], n_pool=20, n_test=10, scores={"random": base, "margin": base + more})
    half = 4.302653 * 0.1 / 3**0.5
    assert found.difference("margin") == pytest.approx((0.2, 0.2 - half, 0.2 + half), rel=1e-6)


def test_folds_have_as_many_of_each_class_as_can_be():
    labels = np.array([0] * 33 + [1] * 17)
    found = folds(labels)
    assert np.sort(np.concatenate(found)).tolist() == list(range(50))
    for fold in found:
        assert len(fold) == 5
        assert abs((labels[fold] == 1).sum() - 17 / FOLDS) < 1


def test_a_curve_asks_within_its_pool_and_is_tested_outside_of_it(pool):
    pool, labels = pool
    rows = np.arange(60)
    Recorder.seen.clear()
    told = []
    found = trial(pool, rows, labels[:60], [RECORDER], metric="accuracy", seeds=1, progress=lambda: told.append(None))
    assert found.sizes == [7, 14, 20, 27], "up to half of the 54 of nine folds"
    assert (found.n_pool, found.n_test) == (54, 6)
    assert len(told) == n_curves([RECORDER], 1) == 20
    assert {name: scores.shape for name, scores in found.scores.items()} == {"random": (10, 1, 4), RECORDER: (10, 1, 4)}
    # Three queries a curve. What it may ask for and what it knows are the 54 of its fold, and none that has no label.
    curves = [Recorder.seen[start : start + 3] for start in range(0, 30, 3)]
    tested = []
    for curve in curves:
        whole = {frozenset(unlabeled + labeled) for unlabeled, labeled, _ in curve}
        assert len(whole) == 1
        tested.append(sorted({*range(60)} - next(iter(whole))))
        assert [n for *_, n in curve] == [7, 6, 7]
        assert [len(labeled) for _, labeled, _ in curve] == found.sizes[:-1]
    assert sorted(row for rows in tested for row in rows) == list(range(60)), "each labelled text is tested on once"
    # The first score of each curve is that of a learner that is told the same labels.
    for curve, test, scores in zip(curves, tested, found.scores[RECORDER], strict=True):
        learner = make_learner(texts_of()[0], ["neg", "pos"], model="linear")
        start = curve[0][1]
        learner.tell(start, labels[start])
        probabilities = learner.predict_proba([texts_of()[0][row] for row in test])
        assert scores[0, 0] == pytest.approx((probabilities.argmax(axis=1) == labels[test]).mean())
    # Both draw from the same streams here, so that nothing differs.
    assert found.difference(RECORDER) == (0, 0, 0)
    assert found.verdict(RECORDER) == "as good as random here, within a point"


def made(scores, random=(0.5, 0.6, 0.7)):
    """A trial of ten folds, which differ, and two seeds."""
    noise = np.linspace(-0.015, 0.015, 10)[:, None, None]
    both = {"random": np.tile(random, (10, 2, 1)), "margin": np.tile(scores, (10, 2, 1)) + noise}
    return Trial(sizes=[10, 20, 30], n_pool=40, n_test=10, scores=both)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        # The area is a mean of trapezoids: + .05. Random has .65 with 25 labels, half of the way from .6 to .7.
        ((0.55, 0.65, 0.75), "choosing beat random here; its 20 labels were worth about 25 random ones"),
        ((0.55, 0.75, 0.75), "choosing beat random here; its 20 labels were worth more than 30 random ones"),
        ((0.45, 0.55, 0.65), "random was better here"),
        ((0.501, 0.601, 0.701), "as good as random here, within a point"),
        ((0.507, 0.607, 0.707), "the labels are too few to tell"),
    ],
)
def test_what_an_interval_says(scores, verdict):
    assert made(scores).verdict("margin") == verdict


def test_intervals_of_several_strategies_are_wider():
    one = made((0.55, 0.65, 0.75))
    two = Trial(sizes=one.sizes, n_pool=40, n_test=10, scores={**one.scores, "badge": one.scores["margin"]})
    alone, together = one.difference("margin"), two.difference("margin")
    assert alone.estimate == together.estimate == pytest.approx(0.05)
    # Quantiles of Student's t with 9 degrees of freedom: 97.5% and 98.75%.
    ratio = (together.high - together.estimate) / (alone.high - alone.estimate)
    assert ratio == pytest.approx(2.685011 / 2.262157, rel=1e-5)


@pytest.mark.parametrize(
    ("n", "one_class", "options", "error", "message"),
    [
        (49, False, {}, DataError, "there are 49 labelled texts; simulate needs 50 or more: label on"),
        (60, True, {}, DataError, "all 60 labels are of one class, 'neg'; simulate needs two classes or more"),
        (60, False, {"strategies": ["random"]}, ConfigError, "--strategies are compared with random; name one"),
        (60, False, {"strategies": ["bald"]}, ConfigError, "strategy bald needs"),
    ],
)
def test_what_cannot_be_tried_is_told(pool, n, one_class, options, error, message):
    pool, labels = pool
    labels = np.zeros(n, np.int64) if one_class else labels[:n]
    with pytest.raises(error, match=message):
        trial(pool, np.arange(n), labels, **{"strategies": ["margin"], "metric": "accuracy", "seeds": 1, **options})


def test_models_that_take_steps_are_refused():
    texts, labels = texts_of(60)
    config = RunConfig.of(model="cnn", word_vectors="random", steps=1)
    pool = encoded_pool(Dataset.from_dict({"text": texts}), ["neg", "pos"], config)
    with pytest.raises(ConfigError, match="--model cnn takes steps, which would take hours; give --model linear"):
        trial(pool, np.arange(60), labels, ["margin"], metric="accuracy")
