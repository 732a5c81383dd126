"""A session whose first labels are all of one class goes on, with every strategy, and its page shows it."""

import logging

import numpy as np
import pytest
from labeling_cases import CLASSES, label_some, make_session, texts_without_labels

from dami_text.config.registry import STRATEGIES
from dami_text.labeling.final import train_final
from dami_text.labeling.page.view import panel_html, shaded, why
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.progress import progress_of
from dami_text.labeling.rounds import train_round
from dami_text.labeling.trainer import TrainerState

LINEAR = {"model": "linear", "word_vectors": "word2vec", "word_vector_dim": 100, "steps": 400, "train_batch_size": 25}
LINEAR_STRATEGIES = ("random", "margin", "badge", "coreset", "kmeans-features")
ALL = [*(("cnn", name) for name in STRATEGIES), *(("linear", name) for name in LINEAR_STRATEGIES)]


@pytest.mark.parametrize(("model", "strategy"), ALL)
def test_labels_of_one_class_make_a_round_and_the_next_class_another(model, strategy, tmp_path, reviews, caplog):
    file, truth = texts_without_labels(reviews, tmp_path)
    options = LINEAR if model == "linear" else {}
    labels = [*CLASSES, "mixed"]  # a class that nobody ever gives
    session = make_session(file, tmp_path / "s.dami", labels=labels, strategy=strategy, **options)
    label_some(session, [1] * len(truth), 12)
    with caplog.at_level(logging.WARNING):
        record = train_round(session)
    assert "all labels are of one class, 'pos': the model always predicts it; label others too" in caplog.messages
    assert record.details["class_counts"][0] == record.details["class_counts"][2] == 0

    queue = session.store.queue(1)
    assert len({item.row for item in queue}) == 5 + 10
    assert {(item.reason["guess"], item.reason["probability"]) for item in queue[:5]} == {(1, 1.0)}
    for item in queue:
        assert "".join(text for text, _ in shaded(session.text(item.row), item.reason)) == session.text(item.row)
        assert why(item)
    page = panel_html(progress_of(session), TrainerState("idle"))
    assert "1 model so far." in page
    assert "100%" in page  # of the held-out texts, which have the same label
    assert (Classifier.of_session(session).probabilities(["bad"]) == [[0, 1, 0]]).all()

    label_some(session, [0] * len(truth), 5)
    train_round(session)
    texts = [session.text(row) for row in range(300)]
    probabilities = Classifier.of_session(session).probabilities(texts)
    assert set(probabilities.argmax(axis=1)) <= {0, 1}
    np.testing.assert_array_equal(probabilities[:, 2], 0)
    assert train_final(session, tmp_path / "final").n_labeled == 17
