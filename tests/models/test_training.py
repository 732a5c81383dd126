"""Training: what it learns, when it stops, what it keeps, and that it repeats itself to the bit."""

import logging
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import encode_texts, make_texts, small_model
from sklearn.metrics import roc_auc_score

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.errors import TrainingError
from dami_text.models import room, training
from dami_text.models.early_stopping import EarlyStopping, evaluation_intervals
from dami_text.models.evaluation import accuracy, scorer_of
from dami_text.models.inference import predict_probabilities
from dami_text.models.tasks import ONE_CLASS
from dami_text.models.training import BUCKET, train, training_batches

KINDS = ["cnn", "bilstm"]
SIZES = {"embedding_dim": 16, "n_filters": 16, "hidden_size": 16}


def toy_texts(n_classes=2, n=200) -> tuple[EncodedTexts, np.ndarray]:
    """Texts of random words, one of which alone decides the class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n)
    texts = []
    for text, label in zip(make_texts(n, shortest=2), labels, strict=True):
        words = text.split()
        words[rng.integers(len(words))] = f"class{label}"
        texts.append(" ".join(words))
    return encode_texts(texts), labels


def of_rows(encoded, labels, rows) -> LabeledTexts:
    return LabeledTexts(encoded, np.asarray(rows), labels[np.asarray(rows)])


def train_small(kind, data, validation, seed=0, n_classes=2, accelerator=None, model_options=None, **options):
    """A small model, trained, and how that went."""
    model = small_model(kind, len(data.texts.tokenizer), n_classes, **(model_options or {}))
    config = TrainingConfig(**{"learning_rate": 1e-2, "train_batch_size": 20, "steps": 60, "patience": 3, **options})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        accelerator = accelerator or Accelerator(cpu=True)
        return model, train(
            model, data, validation, config=config, accelerator=accelerator, rng=np.random.default_rng(seed)
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_classes", "with_validation"), [(2, True), (4, False)])
def test_learns_a_separable_task(kind, n_classes, with_validation):
    encoded, labels = toy_texts(n_classes)
    data, validation = of_rows(encoded, labels, range(120)), of_rows(encoded, labels, range(120, 150))
    validation = validation if with_validation else None
    model, done = train_small(kind, data, validation, n_classes=n_classes, model_options=SIZES, steps=100)
    test = np.arange(150, 200)
    assert accuracy(predict_probabilities(model, encoded, test), labels[test]) >= 0.96
    assert (done.validation_score is None) == (not with_validation)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.fixture
def evaluations(monkeypatch):
    """What was predicted for the validation split after each epoch, and the model's weights then."""
    seen = []

    def predict(model, texts, rows, *args, **options):
        probabilities = predict_probabilities(model, texts, rows, *args, **options)
        seen.append((probabilities, {name: weight.clone() for name, weight in model.state_dict().items()}))
        return probabilities

    monkeypatch.setattr(training, "predict_probabilities", predict)
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learning_rate", [1e-3, 0.1, 0.5])
def test_early_stopping_restores_the_best_epochs_weights(kind, learning_rate, evaluations, monkeypatch):
    monkeypatch.setattr(training, "BEGUN", np.inf)  # patience counts from the first epoch on
    encoded, labels = toy_texts()
    noisy = np.where(np.random.default_rng(1).random(200) < 0.25, 1 - labels, labels)
    data, validation = of_rows(encoded, noisy, range(60)), of_rows(encoded, noisy, range(100, 140))
    model, done = train_small(kind, data, validation, learning_rate=learning_rate, epochs=10, patience=3)

    accuracies = [float(np.mean(p.argmax(axis=1) == validation.labels)) for p, _ in evaluations]
    losses = [-np.log(p[np.arange(40), validation.labels].astype(float) + 1e-12).mean() for p, _ in evaluations]
    best = max(range(len(evaluations)), key=lambda epoch: (accuracies[epoch], -losses[epoch]))
    ranks = [(accuracy, -loss) for accuracy, loss in zip(accuracies, losses, strict=True)]
    gains = [not e or losses[e] < min(losses[:e]) or ranks[e] > max(ranks[:e]) for e in range(len(evaluations))]
    assert done.epochs == len(evaluations)
    assert done.epochs == 10 or not any(gains[-3:])
    assert all(any(gains[e - 3 : e]) for e in range(3, done.epochs)), "and no later than after three without"
    assert done.validation_score == accuracies[best]
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, evaluations[best][1][name])
    again = predict_probabilities(model, encoded, validation.rows)
    assert accuracy(again, validation.labels) == done.validation_score


def test_the_epoch_that_is_kept_is_the_best_by_the_named_metric(evaluations):
    encoded, labels = toy_texts()
    noisy = np.where(np.random.default_rng(1).random(200) < 0.25, 1 - labels, labels)
    data, validation = of_rows(encoded, noisy, range(60)), of_rows(encoded, noisy, range(100, 140))
    _, done = train_small("cnn", data, validation, learning_rate=0.5, epochs=6, patience=6, metric="roc_auc")
    areas = [roc_auc_score(validation.labels, p[:, 1]) for p, _ in evaluations]
    assert done.validation_score == pytest.approx(max(areas))
    assert len(set(areas)) > 1


def test_patience_counts_epochs_without_a_gain(monkeypatch):
    monkeypatch.setattr(training, "BEGUN", np.inf)
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(50)), of_rows(encoded, labels, range(50, 80))
    # At such a learning rate nothing changes: the first epoch is the best.
    _, done = train_small("cnn", data, validation, learning_rate=1e-30, patience=3, epochs=25)
    assert done.epochs == 4
    _, done = train_small("cnn", data, validation, learning_rate=1e-30, patience=3, epochs=2)
    assert done.epochs == 2


def test_patience_waits_until_a_training_has_begun_to_learn(monkeypatch):
    """The loss is made to look like a guess's up to the sixth epoch."""
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(50)), of_rows(encoded, labels, range(50, 80))
    asked = []
    begun = property(lambda steps: asked.append(1) or len(asked) > 5)
    monkeypatch.setattr(training._Steps, "has_begun", begun)
    _, done = train_small("cnn", data, validation, learning_rate=1e-30, patience=3, epochs=25)
    assert done.epochs == 5 + 3


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_loss_of_a_guess_is_the_least_that_equal_probabilities_have(class_weights):
    labels = np.array([0] * 5 + [1] * 3 + [3])
    weights = ONE_CLASS.weights(labels, 4, balanced=class_weights == "balanced")
    logits = torch.zeros(4, requires_grad=True)
    descent = torch.optim.LBFGS([logits], max_iter=200)

    def loss():
        each = torch.nn.functional.cross_entropy(
            logits.expand(9, 4), torch.from_numpy(labels), weights, reduction="sum"
        )
        descent.zero_grad()
        (each / 9).backward()
        return each / 9

    descent.step(loss)
    assert ONE_CLASS.guess_loss(labels, weights.numpy()) == pytest.approx(float(loss().detach()), abs=1e-3)
    assert ONE_CLASS.guess_loss(np.array([2, 2]), np.ones(4, np.float32)) == 0


@pytest.mark.parametrize("with_validation", [True, False])
@pytest.mark.parametrize(
    ("options", "has_learned"),
    [
        ({}, True),
        ({"learning_rate": 1e-30}, False),  # nothing moves
        ({"learning_rate": 1e-30, "steps": 99, "epochs": 9}, True),  # too short to tell
    ],
)
def test_a_training_that_has_not_learned_says_so(options, has_learned, with_validation):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(50)), of_rows(encoded, labels, range(50, 80))
    options = {"steps": 100, "epochs": 10, "patience": 10, "train_batch_size": 10, **options}
    _, done = train_small("cnn", data, validation if with_validation else None, model_options=SIZES, **options)
    assert done.has_learned == has_learned


def test_labels_of_a_single_class_leave_nothing_to_learn():
    encoded, labels = toy_texts()
    data = of_rows(encoded, np.zeros_like(labels), range(50))
    _, done = train_small("cnn", data, None, learning_rate=1e-30, steps=100)
    assert done.has_learned


@pytest.mark.parametrize(
    ("n", "batch_size", "epoch_steps", "passes"), [(5, 2, 10, 4), (50, 5, 10, 1), (51, 5, 10, 1), (4, 8, 3, 3)]
)
def test_an_epoch_is_whole_passes_and_at_least_so_many_steps(n, batch_size, epoch_steps, passes):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(n)), of_rows(encoded, labels, range(100, 110))
    options = {"train_batch_size": batch_size, "epoch_steps": epoch_steps, "epochs": 3, "patience": 3}
    _, done = train_small("cnn", data, validation, **options)
    assert done.epochs == 3
    assert done.steps == 3 * passes * math.ceil(n / batch_size)


@pytest.mark.parametrize(
    ("n", "options", "intervals"),
    [
        (3_750, {}, [25] * 6),
        (3_750, {"evaluation_steps": 50}, [50, 50, 50]),
        (3_750, {"evaluation_steps": 0}, [150]),
        (3_750, {"evaluation_steps": 40}, [37, 38, 37, 38]),
        (3_750, {"evaluation_steps": 40, "gradient_accumulation_steps": 2}, [37, 38]),
        (900, {}, [36]),
        (950, {}, [19, 19]),
        (80, {}, [12]),  # three passes of four steps
        (80, {"evaluation_steps": 1}, [1] * 12),
    ],
)
def test_evaluations_of_an_epoch_by_hand(n, options, intervals):
    assert evaluation_intervals(n, TrainingConfig(train_batch_size=25, **options)) == intervals


@pytest.mark.parametrize("accumulation", [1, 2])
def test_evaluations_within_epochs_see_the_weights_between_two_steps_of_the_same_passes(accumulation, evaluations):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(75)), of_rows(encoded, labels, range(100, 140))
    options = {"train_batch_size": 5, "gradient_accumulation_steps": accumulation, "epochs": 2, "patience": 20}
    _, whole = train_small("cnn", data, validation, evaluation_steps=0, averaging_steps=0, **options)
    epochs = [weights for _, weights in evaluations]
    evaluations.clear()
    _, done = train_small("cnn", data, validation, evaluation_steps=4, averaging_steps=0, **options)
    of_epoch = len(evaluation_intervals(75, TrainingConfig(evaluation_steps=4, **options)))
    assert of_epoch == 4
    assert len(evaluations) == 2 * of_epoch
    assert (done.epochs, done.steps) == (whole.epochs, whole.steps)
    for weights, (_, found) in zip(epochs, evaluations[of_epoch - 1 :: of_epoch], strict=True):
        assert all(torch.equal(found[name], weight) for name, weight in weights.items())


def test_what_is_evaluated_and_kept_is_a_moving_average_of_the_weights(evaluations):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(75)), of_rows(encoded, labels, range(100, 140))
    options = {"train_batch_size": 5, "evaluation_steps": 5, "epochs": 2, "patience": 20}
    train_small("cnn", data, validation, averaging_steps=0, **options)
    each = [weights for _, weights in evaluations]
    evaluations.clear()
    model, _ = train_small("cnn", data, validation, averaging_steps=8, **options)
    assert len(evaluations) == len(each) == 6
    expected = each[0]
    for n, (weights, (_, found)) in enumerate(zip(each, evaluations, strict=True), 1):
        share = max(1 / n, 1 - (7 / 8) ** 5)  # 1, 1 / 2, and then .487
        expected = {name: (1 - share) * expected[name] + share * weight for name, weight in weights.items()}
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight, msg=name)
    accuracies = [float(np.mean(p.argmax(axis=1) == validation.labels)) for p, _ in evaluations]
    assert accuracy(predict_probabilities(model, encoded, validation.rows), validation.labels) == max(accuracies)


@pytest.mark.parametrize(
    ("n", "options", "shares"),
    [
        (3_750, {}, [1, 1 / 2, 1 - 0.98**25, 1 - 0.98**25]),  # .40
        (3_750, {"averaging_steps": 25}, [1, 1 - 0.96**25, 1 - 0.96**25]),  # .64
        (3_750, {"averaging_steps": 0}, [1, 1, 1]),
        (250, {}, [1, 1 - 0.9**10, 1 - 0.9**10]),  # a pass is ten steps
        (225, {}, [1, 1, 1]),  # a pass is nine steps
        (250, {"averaging_steps": 3, "evaluation_steps": 1}, [1, 1 / 2, 1 / 3, 1 / 3]),
    ],
)
def test_shares_of_the_newest_weights_by_hand(n, options, shares):
    score = scorer_of(small_model("cnn", 9), "accuracy")
    stopping = EarlyStopping(ONE_CLASS, score, TrainingConfig(train_batch_size=25, **options), n)
    for share in shares:
        assert stopping.share_of_newest == pytest.approx(share)
        stopping.offer(np.array([[0.5, 0.5]], np.float32), np.array([0]))


def test_patience_counts_evaluations_within_epochs(monkeypatch):
    monkeypatch.setattr(training, "BEGUN", np.inf)
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(60)), of_rows(encoded, labels, range(100, 140))
    options = {"learning_rate": 1e-30, "train_batch_size": 6, "evaluation_steps": 5, "patience": 4}
    _, done = train_small("cnn", data, validation, epochs=25, **options)
    assert (done.epochs, done.steps) == (3, 25), "the first and four more, of which each epoch has two"
    _, done = train_small("cnn", data, validation, epochs=2, **options)
    assert (done.epochs, done.steps) == (2, 20)


@pytest.mark.parametrize("steps", [1, 7, 20])
@pytest.mark.parametrize("n", [4, 33, 200])
def test_without_validation_so_many_steps_and_no_more(steps, n, monkeypatch):
    encoded, labels = toy_texts()
    counted = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *args: counted.append(1) or step(self, *args))
    _, done = train_small("cnn", of_rows(encoded, labels, range(n)), None, steps=steps, train_batch_size=10)
    assert done.steps == len(counted) == steps
    assert done.validation_score is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_validation", [True, False])
def test_the_same_stream_gives_the_same_bits_and_another_does_not(kind, with_validation):
    encoded, labels = toy_texts()
    data = of_rows(encoded, labels, range(70))
    validation = of_rows(encoded, labels, range(100, 140)) if with_validation else None
    options = {"epochs": 2, "steps": 15}
    first, done = train_small(kind, data, validation, **options)
    again, done_again = train_small(kind, data, validation, **options)
    other, _ = train_small(kind, data, validation, seed=1, **options)
    assert done == done_again
    weights = first.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in again.state_dict().items())
    assert not torch.equal(other.embedding.weight, first.embedding.weight)


@pytest.mark.parametrize(("class_weights", "expected"), [("none", 0.25), ("balanced", 0.5)])
def test_balanced_classes_weigh_the_same(class_weights, expected):
    """The same text three times of class 0 and once of class 1: the best answer is 1/4, or 1/2 where balanced."""
    encoded = encode_texts(["the same text"] * 4)
    data = LabeledTexts(encoded, np.arange(4), np.array([0, 1, 0, 0]))
    options = {"steps": 150, "class_weights": class_weights, "learning_rate": 2e-2}
    model, _ = train_small("cnn", data, None, model_options={"dropout": 0.0}, **options)
    probability = predict_probabilities(model, encoded, np.arange(1))[0, 1]
    assert probability == pytest.approx(expected, abs=0.01)


def test_class_weights_by_hand():
    """Of 8 texts 5, 2, 1 and 0: n / (classes present * count) is 8 / 15, 8 / 6 and 8 / 3; an absent class has none."""
    labels = np.array([0, 1, 0, 2, 0, 1, 0, 0])
    weights = ONE_CLASS.weights(labels, 4, balanced=True)
    assert weights.tolist() == pytest.approx([8 / 15, 8 / 6, 8 / 3, 0])
    assert weights[labels].sum() == pytest.approx(8)
    assert ONE_CLASS.weights(labels, 4, balanced=False).tolist() == [1, 1, 1, 1]


def test_one_step_by_hand():
    """Adam's first step moves every weight by the learning rate, against the gradient of the weighted mean loss."""
    encoded = encode_texts(["a b c", "b c d", "a d d"])
    data = LabeledTexts(encoded, np.arange(3), np.array([0, 1, 1]))
    options = {"steps": 1, "learning_rate": 0.01, "class_weights": "balanced"}
    before = small_model("cnn", len(encoded.tokenizer), dropout=0.0)
    model, _ = train_small("cnn", data, None, model_options={"dropout": 0.0}, **options)
    batch = encoded.collate(np.arange(3))
    chances = before(batch.input_ids, batch.attention_mask).logits.softmax(dim=1)
    (-1.5 * chances[0, 0].log() - 0.75 * (chances[1, 1].log() + chances[2, 1].log())).div(3).backward()
    for (name, old), new in zip(before.named_parameters(), model.parameters(), strict=True):
        moved = old.grad.abs() > 1e-5  # Adam's epsilon, 1e-8, is small beside these
        expected = -0.01 * old.grad[moved].sign()
        torch.testing.assert_close((new - old)[moved].detach(), expected, atol=2e-5, rtol=0, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_plain_loop_over_the_same_batches(kind):
    encoded, labels = toy_texts()
    data = of_rows(encoded, labels, range(30, 57))  # the last batch of a pass is smaller
    model, _ = train_small(kind, data, None, model_options={"dropout": 0.0}, steps=6, train_batch_size=10)

    plain, rng = small_model(kind, len(encoded.tokenizer), dropout=0.0), np.random.default_rng(0)
    adam = torch.optim.Adam(plain.parameters(), 1e-2, fused=False)
    for _ in range(2):
        for positions in training_batches(encoded.lengths[data.rows], 10, rng):
            batch = encoded.collate(data.rows[positions])
            adam.zero_grad()
            plain(
                batch.input_ids, batch.attention_mask, labels=torch.from_numpy(data.labels[positions])
            ).loss.backward()
            adam.step()
    for (name, found), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("with_validation", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_finite_are_an_error(kind, with_validation):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(50)), of_rows(encoded, labels, range(50, 60))
    options = {"learning_rate": 1e38, "steps": 5}
    with pytest.raises(TrainingError, match="not finite; lower --learning-rate"):
        train_small(kind, data, validation if with_validation else None, **options)


def test_nothing_to_train_on_is_an_error():
    encoded, labels = toy_texts()
    with pytest.raises(TrainingError, match="no labelled text to train on"):
        train_small("cnn", of_rows(encoded, labels, np.zeros(0, np.int64)), None)


def test_repeated_trainings_leave_nothing_in_the_accelerator():
    encoded, labels = toy_texts()
    data, accelerator = of_rows(encoded, labels, range(20)), Accelerator(cpu=True)
    for _ in range(2):
        model, _ = train_small("cnn", data, None, accelerator=accelerator, steps=2)
        assert not accelerator._models
        assert not accelerator._optimizers
        assert type(model).__name__ == "TextCNNForSequenceClassification"


def test_mixed_precision_trains_too():
    encoded, labels = toy_texts()
    AcceleratorState._reset_state()  # it refuses another precision otherwise
    try:
        accelerator = Accelerator(cpu=True, mixed_precision="bf16")
        options = {"model_options": SIZES, "steps": 100, "accelerator": accelerator}
        model, _ = train_small("cnn", of_rows(encoded, labels, range(120)), None, **options)
    finally:
        AcceleratorState._reset_state()
    test = np.arange(120, 200)
    assert accuracy(predict_probabilities(model, encoded, test), labels[test]) >= 0.9
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def without_room(monkeypatch, model, most):
    """Have the model's memory hold no more than so many texts at once; how many it was called with each time."""
    called, forward = [], type(model).forward

    def limited(self, input_ids=None, **inputs):
        called.append(len(input_ids))
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("no room")
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(type(model), "forward", limited)
    monkeypatch.setattr(room, "_told", set())
    return called


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_without_room_in_memory_is_taken_in_halves_and_told_once(kind, accumulated, monkeypatch, caplog):
    encoded, labels = toy_texts()
    data, validation = of_rows(encoded, labels, range(90)), of_rows(encoded, labels, range(100, 120))
    options = {"model_options": {"dropout": 0.0}, "gradient_accumulation_steps": accumulated, "epochs": 4}
    wanted_model, wanted = train_small(kind, data, validation, **options)
    called = without_room(monkeypatch, wanted_model, 6)
    with caplog.at_level(logging.INFO):
        model, found = train_small(kind, data, validation, **options)
    assert found == wanted
    for name, weight in wanted_model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-3, atol=1e-5, msg=name)
    told = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert told == [
        "a batch of 20 texts is more than the device has memory for; batches of training steps are halved",
        "a batch of 20 texts is more than the device has memory for; batches of passes are halved",
    ]
    assert sum(n > 6 for n in called) < 0.3 * len(called), "later steps begin with the smaller parts"


def test_a_step_without_room_for_one_text_is_an_error(monkeypatch):
    encoded, labels = toy_texts()
    without_room(monkeypatch, small_model("cnn", len(encoded.tokenizer)), 0)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        train_small("cnn", of_rows(encoded, labels, range(20)), None)


def test_weight_decay_keeps_weights_small():
    encoded, labels = toy_texts()
    data = of_rows(encoded, labels, range(60))
    free, _ = train_small("cnn", data, None)
    decayed, _ = train_small("cnn", data, None, weight_decay=0.1)
    assert decayed.classifier.weight.norm() < 0.8 * free.classifier.weight.norm()


@pytest.mark.parametrize(("n", "batch_size"), [(0, 4), (1, 4), (79, 4), (80, 4), (81, 4), (1000, 7), (30, 50)])
def test_batches_hold_every_position_once_and_like_lengths(n, batch_size):
    lengths = np.random.default_rng(0).integers(0, 100, n)
    batches = list(training_batches(lengths, batch_size, np.random.default_rng(1)))
    assert sorted(np.concatenate([np.zeros(0, np.int64), *batches]).tolist()) == list(range(n))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == math.ceil(n / batch_size)
    if n <= BUCKET * batch_size:  # a single bucket: its batches' lengths lie one after another
        ranges = sorted((lengths[batch].min(), lengths[batch].max()) for batch in batches)
        assert all(before[1] <= after[0] for before, after in pairwise(ranges))


def test_batches_waste_little_on_padding_and_differ_from_pass_to_pass():
    lengths, rng = np.random.default_rng(0).geometric(0.05, 3000), np.random.default_rng(1)
    passes = [list(training_batches(lengths, 50, rng)) for _ in range(2)]
    for batches in passes:
        padded = sum(len(batch) * lengths[batch].max() for batch in batches)
        at_random = sum(50 * lengths[i : i + 50].max() for i in range(0, 3000, 50))
        assert padded < 0.4 * at_random
        firsts = [lengths[batch].mean() for batch in batches]
        assert abs(np.corrcoef(firsts, np.arange(len(firsts)))[0, 1]) < 0.5, "not sorted by length"
    assert any(not np.array_equal(a, b) for a, b in zip(*passes, strict=True))
    same = list(training_batches(lengths, 50, np.random.default_rng(1)))
    assert all(np.array_equal(a, b) for a, b in zip(passes[0], same, strict=True))


def test_who_is_in_a_batch_with_whom_is_drawn_at_random():
    """Two texts of a length meet as often as chance has it; otherwise every pass would see the same batches."""
    n, batch_size, passes, rng = 60, 10, 600, np.random.default_rng(0)
    together = 0
    for _ in range(passes):
        batches = training_batches(np.full(n, 7), batch_size, rng)
        together += sum({0, 1} <= set(batch.tolist()) for batch in batches)
    assert together / passes == pytest.approx((batch_size - 1) / (n - 1), abs=0.05)


def test_no_text_comes_first_because_it_is_short():
    n, passes, rng = 60, 600, np.random.default_rng(0)
    place = [
        next(i for i, batch in enumerate(training_batches(np.arange(n), 10, rng)) if 0 in batch) for _ in range(passes)
    ]
    assert np.bincount(place, minlength=6) / passes == pytest.approx(np.full(6, 1 / 6), abs=0.06)
