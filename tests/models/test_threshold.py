"""The threshold of a rare class against a search over all thresholds, and what it does to models."""

import re

import numpy as np
import pytest
import torch
from labeling_cases import label_some, make_linear_session, make_session, texts_without_labels
from sklearn.metrics import f1_score

from dami_text.cli.main import main
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.session import Session
from dami_text.models.linear import LinearConfig, LinearForSequenceClassification
from dami_text.models.threshold import (
    Threshold,
    best_threshold,
    choose_thresholds,
    move_threshold,
    moved,
    rarer_class,
)


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_has_a_higher_f1(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(40) < 0.2
    positive[0] = True
    probabilities = (rng.beta(1, 5, 40) + 0.2 * positive).round(1 if seed % 2 else 6)  # some are equal where rounded
    found = best_threshold(probabilities, positive)
    every = [f1_score(positive, probabilities >= t, zero_division=0) for t in np.unique(probabilities)]
    assert f1_score(positive, probabilities > found) == pytest.approx(max(every))


def test_the_threshold_lies_midway():
    # .9 yes, .5 no, .3 yes, .1 no: F1 of the first 1, 2, 3, 4 is 2/3, 1/2, 4/5, 2/3.
    found = best_threshold(np.array([0.5, 0.9, 0.1, 0.3]), np.array([False, True, False, True]))
    assert found == pytest.approx(0.2)
    assert best_threshold(np.array([0.5, 0.3]), np.array([True, True])) == pytest.approx(0.15), "all are positive"


@pytest.mark.parametrize("rare", [0, 1])
def test_what_had_the_thresholds_probability_has_one_half(rare):
    model = LinearForSequenceClassification(LinearConfig(1, num_labels=2))
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([0.4, -0.4]))
    # The rare class has .3, .3, .1 and the others .1, but for one that nobody held out.
    own = np.array([0.3, 0.3, 0.1, *[0.1] * 7, np.nan])
    labels = np.full(11, 1 - rare)
    labels[:3] = rare
    both = np.stack([own, 1 - own] if rare == 0 else [1 - own, own], axis=1)
    found = move_threshold(model, both, labels)
    assert (found.number, found.probability) == (rare, pytest.approx(0.2))
    assert (found.f1_before, found.f1_after) == (0, pytest.approx(2 * 2 / (2 + 3)))
    bias = model.classifier.bias.detach().numpy()
    before = np.array([0.4, -0.4])
    moved = (bias[rare] - bias[1 - rare]) - (before[rare] - before[1 - rare])
    assert moved == pytest.approx(-np.log(0.2 / 0.8))
    assert bias.sum() == pytest.approx(before.sum(), abs=1e-6)


def test_each_label_has_its_own_threshold_by_hand():
    """Of label a, .9 .5 .3 have it of .9 .5 .4 .3 .1; of b one text alone, of c all, of d .2 and .1 of many at .1."""
    have = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]])
    own = np.array([[0.9, np.nan, 1, 0.2], [0.5, 0.1, 1, 0.1], [0.4, 0.1, 1, 0.1], [0.3, 0, 1, 0.1], [0.1, 0, 1, 0.1]])
    found = {each.number: each for each in choose_thresholds(own, have)}
    assert found.keys() == {0, 3}
    # F1 of the first 1, 2, 3, 4 texts by a: 2/4, 4/5, 4/6, 6/7.
    assert (found[0].probability, found[0].f1_before) == (pytest.approx(0.2), pytest.approx(2 / 4))
    assert found[0].f1_after == pytest.approx(6 / 7)
    # Of d, all texts but the first are equal: above .15 F1 is 2/3, above .05 it is 4/7.
    assert (found[3].probability, found[3].f1_after) == (pytest.approx(0.15), pytest.approx(2 / 3))


def test_a_label_is_predicted_twice_as_often_as_it_is_there_at_most():
    """Of ten texts the last two have the label: F1 is 4/12 for all ten, and 0 for the first four of them or fewer."""
    p, last = np.linspace(0.95, 0.05, 10), np.arange(10) >= 8
    assert best_threshold(p, last) == pytest.approx(0.025)
    assert (p > best_threshold(p, last, 4)).sum() <= 4
    assert best_threshold(np.full(10, 0.3), last, 2) == pytest.approx(0.15), "equal ones are on the same side"


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_within_the_limit_has_a_higher_f1(seed):
    rng = np.random.default_rng(seed)
    positive, p = rng.random(60) < 0.1, rng.random(60).round(2)
    positive[:2] = True
    most = 2 * int(positive.sum())
    found = best_threshold(p, positive, most)
    every = [f1_score(positive, p >= t, zero_division=0) for t in np.unique(p) if (p >= t).sum() <= most]
    assert f1_score(positive, p > found, zero_division=0) == pytest.approx(max(every))
    assert (p > found).sum() <= most


def test_thresholds_are_moved_to_one_half_and_back():
    config = LinearConfig(1, num_labels=3, problem_type="multi_label_classification")
    model = LinearForSequenceClassification(config)
    before = torch.tensor([0.4, -0.4, -1e4])
    with torch.no_grad():
        model.classifier.bias.copy_(before)
    thresholds = [Threshold(number=n, probability=p, f1_before=0, f1_after=1) for n, p in ((0, 0.2), (1, 0.5))]

    def inside():
        with moved(model, thresholds):
            # A log-odds of log(.2 / .8), which is a probability of .2, becomes 0.
            assert model.classifier.bias.tolist() == pytest.approx([0.4 - np.log(0.2 / 0.8), -0.4, -1e4])
            assert model.config.moved_thresholds == {"LABEL_0": 0.2, "LABEL_1": 0.5}
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        inside()
    assert model.classifier.bias.tolist() == before.tolist()
    assert not hasattr(model.config, "moved_thresholds")


def test_the_rarer_class_is_that_with_fewer_labels():
    assert [rarer_class(np.array(labels)) for labels in ([0, 1, 1], [0, 0, 1], [0, 1])] == [0, 1, 1]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session of 160 texts, 120 of them labelled; one in ten is spam, which has a word that some others have too."""
    folder = tmp_path_factory.mktemp("rare")
    rng = np.random.default_rng(0)
    words, spam = [f"word{i}" for i in range(30)], [i % 10 == 0 for i in range(160)]
    texts = [
        " ".join([*rng.choice(words, 8), f"number{i}", *(["signal"] if hit or rng.random() < 0.05 else [])])
        for i, hit in enumerate(spam)
    ]
    file = folder / "texts.csv"
    file.write_text("text\n" + "".join(f"{text}\n" for text in texts), encoding="utf-8")
    with make_linear_session(file, folder / "s.dami") as session:
        session.store.extend_queue(0, session.items(list(range(160)), "reserve"))
        label_some(session, [int(hit) for hit in spam], 120)
    return folder / "s.dami"


def test_a_final_model_predicts_by_it_wherever_it_is_read(session, tmp_path, capsys):
    found, told = {}, {}
    for name, options in {"plain": [], "moved": ["--threshold", "f1"]}.items():
        assert main(["train", str(session), "--output-dir", str(tmp_path / name), *options]) == 0
        told[name] = capsys.readouterr().out
        classifier = Classifier.load(tmp_path / name)
        with Session(session) as opened:
            texts = [opened.text(row) for row in range(160)]
        found[name] = classifier.probabilities(texts)[:, 1]
    assert "threshold" not in told["plain"]
    line = re.search(r"threshold 'pos' from a probability of (\S+) on, which is moved to 0.5: its F1", told["moved"])
    assert line
    assert np.argsort(found["plain"], kind="stable").tolist() == np.argsort(found["moved"], kind="stable").tolist()
    assert ((found["moved"] > 0.5) == (found["plain"] > float(line[1]))).mean() > 0.98, "it is told in two digits"
    assert (found["moved"] > 0.5).sum() > (found["plain"] > 0.5).sum()
    assert "from a probability of" in (tmp_path / "moved" / "README.md").read_text(encoding="utf-8")
    # The same command again is done at once; another threshold is another model.
    assert main(["train", str(session), "--output-dir", str(tmp_path / "moved"), "--threshold", "f1"]) == 0
    assert main(["train", str(session), "--output-dir", str(tmp_path / "moved")]) == 1
    assert "holds a model of other labels" in capsys.readouterr().err


def test_what_has_no_threshold_refuses_it(tmp_path, reviews, capsys):
    file, truth = texts_without_labels(reviews, tmp_path, 40)
    with make_linear_session(file, tmp_path / "few.dami") as session:
        label_some(session, truth, 4)
    with make_session(file, tmp_path / "cnn.dami", model="cnn", strategy="margin") as session:
        label_some(session, truth, 4)
    with make_session(file, tmp_path / "three.dami", ["a", "b", "c"], model="cnn", strategy="margin") as session:
        label_some(session, truth, 4)
    for name, message in {
        "few": "--threshold needs 5 texts of each class to train on, and ",
        "cnn": "--threshold is for linear and for frozen encoders, and the model is cnn; leave it out",
        "three": "--threshold is for two classes, and the session has 3; leave it out",
    }.items():
        place = str(tmp_path / f"{name}.dami")
        assert main(["train", place, "--output-dir", str(tmp_path / "out"), "--threshold", "f1"]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
