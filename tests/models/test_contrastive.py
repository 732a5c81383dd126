"""Contrastive fine-tuning: its loss by a loop, its batches, what it does to an encoder, and its life in a session."""

import json
import math
import time

import numpy as np
import pytest
import torch
from encoder_cases import save_encoder
from labeling_cases import CLASSES, label_some, texts_without_labels

from dami_text.cli.main import main
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ConfigError
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import SessionConfig
from dami_text.learning.factory import make_learner
from dami_text.models import fitted_heads
from dami_text.models.contrastive import (
    TEMPERATURE,
    TOGETHER,
    TRAIN_BATCH,
    batches_of_pairs,
    contrastive_loss,
)
from dami_text.models.frozen_features import features_of
from dami_text.models.logistic import Regression
from dami_text.models.training import Training


def by_loop(features, labels):
    """The loss, text by text and pair by pair."""
    unit = [row / np.linalg.norm(row) for row in features]
    losses = []
    for i, mine in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        same = [j for j in others if labels[j] == mine]
        if same:
            total = sum(math.exp(unit[i] @ unit[j] / TEMPERATURE) for j in others)
            losses.append(-np.mean([math.log(math.exp(unit[i] @ unit[j] / TEMPERATURE) / total) for j in same]))
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 2], [0, 0, 0], [0, 1, 2], [3, 3, 1, 1, 1, 0]])
def test_the_loss_by_a_loop(labels):
    features = np.random.default_rng(0).normal(size=(len(labels), 4))
    tensor = torch.from_numpy(features).requires_grad_()
    loss = contrastive_loss(tensor, torch.tensor(labels))
    assert loss.item() == pytest.approx(by_loop(features, labels))
    loss.backward()
    assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("n_classes", [2, 7, 60])
def test_batches_hold_every_text_once_and_others_of_its_class(n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 150)
    batches = list(batches_of_pairs(labels, rng))
    assert sorted(np.concatenate(batches).tolist()) == list(range(150))
    assert max(map(len, batches)) <= TRAIN_BATCH
    counts = np.bincount(labels)
    alone = sum(
        1
        for batch in batches
        for label in labels[batch]
        if counts[label] > 1 and np.count_nonzero(labels[batch] == label) < 2
    )
    assert alone <= 2 * len(batches)  # a group that a batch's end cuts
    assert TOGETHER == 4
    assert not np.array_equal(batches[0], next(iter(batches_of_pairs(labels, rng))))


WORDS = {1: ("good", "great", "lively", "fresh"), 0: ("bad", "dull", "boring", "stale")}
TEXTS = [
    f"the {noun} is {word}" for noun in ("plot", "cast", "film", "music") for words in WORDS.values() for word in words
]
LABELS = [label for _ in range(4) for label in WORDS for _ in range(4)]


def learner_of(folder, **options):
    return make_learner(TEXTS, ["neg", "pos"], RunConfig.of(model=str(folder), strategy="margin", **options))


def separation(model, texts):
    """How much nearer texts are to those of their class than to the others, in mean cosine similarity."""
    features = features_of(model, texts, np.arange(len(texts)))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    same = np.equal.outer(LABELS, LABELS) & ~np.eye(len(LABELS), dtype=bool)
    similar = unit @ unit.T
    return similar[same].mean() - similar[~np.equal.outer(LABELS, LABELS)].mean()


def test_texts_of_a_class_come_together_and_the_head_tells_them_apart(tmp_path):
    folder = save_encoder(tmp_path / "encoder")
    frozen, tuned = learner_of(folder, freeze_encoder=True), learner_of(folder, contrastive=True)
    rows = list(range(24))
    for learner in (frozen, tuned):
        learner.tell(rows, [LABELS[row] for row in rows])
    training = tuned.train()
    assert isinstance(training, Training)
    assert training.steps == 10
    before, after = (separation(each.trained_model(), tuned.pool.texts) for each in (frozen, tuned))
    assert after > before
    again = learner_of(folder, contrastive=True)
    again.tell(rows, [LABELS[row] for row in rows])
    for name, weight in again.trained_model().state_dict().items():
        torch.testing.assert_close(weight, tuned.trained_model().state_dict()[name])
    assert len(tuned.ask(4).rows) == 4


def test_one_class_alone_trains_nothing_and_is_predicted(tmp_path, caplog):
    learner = learner_of(save_encoder(tmp_path / "encoder"), contrastive=True)
    learner.tell([0, 1], [1, 1])
    assert learner.train().steps == 0
    assert "all labels are of one class, 'pos'" in caplog.text


def test_the_final_model_of_a_session_is_fine_tuned(reviews, tmp_path, capsys):
    file, truth = texts_without_labels(reviews, tmp_path)
    folder = save_encoder(tmp_path / "encoder")
    run = RunConfig.of(dataset=str(file), model=str(folder), freeze_encoder=True, initial_size=10, query_size=5)
    with create_session(tmp_path / "s.dami", SessionConfig(run, LabelingConfig(labels=CLASSES))) as session:
        label_some(session, truth, 12)
    for name, options in (("plain", []), ("tuned", ["--fine-tune"])):
        assert main(["train", str(tmp_path / "s.dami"), "--output-dir", str(tmp_path / name), *options]) == 0
    plain, tuned = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("plain", "tuned"))
    assert not plain["contrastive"]
    assert tuned["contrastive"]
    assert "contrastive" in (tmp_path / "tuned" / "README.md").read_text()
    assert main(["predict", str(tmp_path / "tuned"), str(file), str(tmp_path / "out.csv")]) == 0
    capsys.readouterr()
    linear = RunConfig.of(dataset=str(file), model="linear", strategy="margin")
    create_session(tmp_path / "l.dami", SessionConfig(linear, LabelingConfig(labels=CLASSES))).close()
    assert main(["train", str(tmp_path / "l.dami"), "--output-dir", str(tmp_path / "no"), "--fine-tune"]) == 1
    said = capsys.readouterr().err
    assert said == "error: --fine-tune is for a session with an encoder, and its model is linear; leave it out\n"


def test_options_that_do_not_go_together():
    with pytest.raises(ConfigError, match="contrastive is True; it must be left out with freeze_encoder"):
        RunConfig.of(model="x/y", contrastive=True, freeze_encoder=True)
    with pytest.raises(ConfigError, match="contrastive is True; it must be left out: model cnn is no pretrained"):
        RunConfig.of(contrastive=True)
    with pytest.raises(ConfigError, match="learning_rate has no effect on model x/y with contrastive; leave it out"):
        RunConfig.of(model="x/y", contrastive=True, learning_rate=0.1)


@pytest.mark.slow
def test_a_hundred_labels_of_mr_take_three_minutes_at_most(minilm, real_data):
    from dami_text.config.data_options import DataConfig
    from dami_text.data.sources import load_source

    source = load_source(DataConfig(dataset=str(real_data / "cornell-movie-review-data" / "rotten_tomatoes")))
    part = source["train"].shuffle(seed=0).select(range(1_000))
    config = RunConfig.of(model=str(minilm), strategy="margin", contrastive=True)
    learner = make_learner(part.select_columns("text"), ["neg", "pos"], config)
    learner.tell(list(range(100)), part["label"][:100])
    start = time.process_time()
    learner.train()
    assert time.process_time() - start < 180


def test_what_the_regression_chooses_is_chosen_before_the_encoder_has_seen_the_labels(tmp_path, monkeypatch):
    noisy = [label if place % 3 else 1 - label for place, label in enumerate(LABELS)]
    found = []

    class Noted(Regression):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            found.append((options.get("choices"), self.choices))

    monkeypatch.setattr(fitted_heads, "Regression", Noted)
    folder = save_encoder(tmp_path / "encoder")
    frozen, tuned = learner_of(folder, freeze_encoder=True), learner_of(folder, contrastive=True)
    for learner in (frozen, tuned):
        learner.tell(list(range(24)), noisy[:24])
        learner.train()
    (_, of_frozen), (nothing, before), (given, after) = found
    assert nothing is None
    assert before == of_frozen
    assert given == after == before
