"""Trainings side by side against each of them alone: the same outcomes and weights, however many slots there are."""

import logging
from collections import deque
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from stack_cases import KINDS, distance, jobs_on, telling_texts

from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError, TrainingError
from dami_text.models import training
from dami_text.models.jobs import train_alone
from dami_text.models.stacked import run, trainings
from dami_text.models.stacked.stack import Stack
from dami_text.models.stacked.trainings import can_train_together, train_together, trained_as_they_end
from dami_text.processes import make_accelerator

ACCELERATOR = make_accelerator()


def alone(jobs):
    return [train_alone(job, ACCELERATOR) for job in jobs]


@pytest.fixture
def stacks(monkeypatch):
    """The stacks that are made."""
    made = []

    def make(*arguments, **options):
        made.append(Stack(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(trainings, "Stack", make)
    return made


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_is_as_if_it_were_alone(kind, validation, stacks, monkeypatch):
    """Seven runs of 6 to 60 labels, at once and in three slots."""
    texts = telling_texts(120, 3)
    losses = []
    offer = training.EarlyStopping.offer

    def offered(stopping, probabilities, labels):
        best = offer(stopping, probabilities, labels)
        losses.append(stopping._lowest_loss)
        return best

    monkeypatch.setattr(training.EarlyStopping, "offer", offered)
    options = {"validation": validation, "patience": 1, "epochs": 6, "learning_rate": 3e-2}
    wanted = jobs_on(*texts, kind, **options)
    expected = alone(wanted)
    losses_alone, losses[:] = sorted(losses), []
    for slots in (7, 3):
        jobs = jobs_on(*texts, kind, **options)
        assert train_together(jobs, ACCELERATOR, slots) == expected
        assert distance(jobs, wanted) < 1e-9
        assert sorted(losses) == pytest.approx(losses_alone, abs=1e-7)  # of probabilities in single precision
        assert all(job.model.training for job in jobs)
        losses.clear()
    assert [stack.n_slots for stack in stacks] == [7, 3]
    if validation:
        assert len({each.steps for each in expected}) > 1
        assert len({each.epochs for each in expected}) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "warmup_steps": 9},
        {"weight_decay": 0.01, "class_weights": "balanced", "train_batch_size": 50},
        {"n_classes": 2, "class_weights": "balanced", "metric": "roc_auc"},
        {"n_classes": 5, "model_options": {"dropout": 0.0}, "metric": "macro_f1"},
        {"multilabel": True, "class_weights": "balanced", "metric": "micro_f1", "n_classes": 4},
        {"multilabel": True, "validation": False},
        {"evaluation_steps": 2, "averaging_steps": 3, "epochs": 6},
        {"evaluation_steps": 0, "averaging_steps": 0},
    ],
)
def test_options_mean_what_they_mean_alone(kind, options):
    n_classes, multilabel = options.get("n_classes", 3), options.get("multilabel", False)
    texts = telling_texts(80, n_classes, multilabel)
    options = {name: value for name, value in options.items() if name != "multilabel"}
    wanted, jobs = (jobs_on(*texts, kind, n_jobs=3, **options) for _ in range(2))
    assert train_together(jobs, ACCELERATOR, 2) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9


def test_the_last_states_of_a_bilstm_can_be_what_is_read():
    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, "bilstm", n_jobs=3, model_options={"pooling": "last"}) for _ in range(2))
    assert train_together(jobs, ACCELERATOR, 3) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_are_the_same_steps(kind, monkeypatch):
    """A recorded step is run anew in place of a CUDA graph; batches are padded as for one, to 16 tokens."""
    recorded = []

    def record(function):
        recorded.append(function)
        return function

    monkeypatch.setattr(trainings, "Stack", partial(Stack, record=record))
    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, kind, n_jobs=4) for _ in range(2))
    assert train_together(jobs, ACCELERATOR, 4) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9
    # No text has more than 16 words: each part of the models has one width, and then all weights are moved.
    assert len(recorded) == {"cnn": 4, "bilstm": 1}[kind] + 1


def test_runs_may_have_texts_and_vocabularies_of_their_own():
    first, second = telling_texts(80, 3), telling_texts(150, 3)
    assert len(first[0].tokenizer) != len(second[0].tokenizer) or first[0] is not second[0]
    wanted, jobs = ([*jobs_on(*first, n_jobs=2), *jobs_on(*second, n_jobs=2)] for _ in range(2))
    for each in (wanted, jobs):  # a vocabulary of words that no text has
        grown = jobs_on(*second, n_jobs=1, model_options={"vocab_size": 90})
        each.extend(grown)
    assert train_together(jobs, ACCELERATOR, 5) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9


def test_what_comes_later_takes_the_places_of_those_that_have_ended(stacks):
    texts = telling_texts(120, 3)
    expected, jobs = alone(jobs_on(*texts)), jobs_on(*texts)
    waiting, found, later = deque(jobs[:3]), {}, deque(jobs[3:])
    for job, outcome in trained_as_they_end(waiting, ACCELERATOR, 3):
        found[id(job)] = outcome
        if later:
            waiting.append(later.popleft())
    assert [found[id(job)] for job in jobs] == expected
    assert len(stacks) == 1
    assert not waiting


@pytest.mark.parametrize(
    ("first", "later", "slots"),
    [
        (2, 3, [2]),  # more than there are slots, but not twice as many
        (2, 4, [2, 4]),
        (6, 3, [6, 3]),  # half of the slots would be empty
        (6, 4, [6]),
    ],
)
def test_slots_that_do_not_suit_the_jobs_run_empty_and_others_take_their_place(stacks, first, later, slots):
    """All jobs end at the same step, and `later` come up at the first end."""
    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, n_jobs=first + later, validation=False) for _ in range(2))
    waiting, coming, found = deque(jobs[:first]), deque(jobs[first:]), {}
    for job, outcome in trained_as_they_end(waiting, ACCELERATOR, 6):
        found[id(job)] = outcome
        waiting.extend(coming)
        coming.clear()
    assert [found[id(job)] for job in jobs] == alone(wanted)
    assert distance(jobs, wanted) < 1e-9
    assert [stack.n_slots for stack in stacks] == slots


def test_a_larger_vocabulary_does_not_wait_until_all_others_are_done(stacks):
    texts = telling_texts(80, 3)
    order = []

    def growing():
        return [
            *jobs_on(*texts, n_jobs=6, validation=False),
            *jobs_on(*texts, n_jobs=1, validation=False, model_options={"vocab_size": 90}),
        ]

    wanted, jobs = growing(), growing()
    waiting, coming, found = deque(jobs[:2]), deque([jobs[6], *jobs[2:6]]), {}
    for job, outcome in trained_as_they_end(waiting, ACCELERATOR, 2):
        found[id(job)] = outcome
        order.append(jobs.index(job))
        if coming:
            waiting.append(coming.popleft())
    assert [found[id(job)] for job in jobs] == alone(wanted)
    assert distance(jobs, wanted) < 1e-9
    assert order.index(6) < 4
    assert [stack.n_slots for stack in stacks] == [2, 2]


def test_jobs_of_another_kind_wait_for_a_stack_of_their_own(stacks):
    texts = telling_texts(80, 3)
    options = {"validation": False}

    def mixed():
        cnns, bilstms = (jobs_on(*texts, kind, n_jobs=2, **options) for kind in KINDS)
        return [cnns[0], bilstms[0], cnns[1], bilstms[1], *jobs_on(*texts, n_jobs=1, **options, steps=7)]

    wanted, jobs = mixed(), mixed()
    assert train_together(jobs, ACCELERATOR, 4) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9
    assert [stack.n_slots for stack in stacks] == [2, 2]


def test_out_of_memory_halves_the_slots_and_loses_nothing(stacks, monkeypatch, caplog):
    """There is room for three; it runs out when some runs have ended and others are in the middle of an epoch."""
    texts = telling_texts(120, 3)
    wanted, jobs = jobs_on(*texts), jobs_on(*texts)
    differentiate, calls = Stack._differentiate, []

    def limited(stack, part, width):
        calls.append(part)
        if stack.n_slots > 3 and len(calls) > 73:
            raise torch.OutOfMemoryError("CUDA out of memory")
        differentiate(stack, part, width)

    monkeypatch.setattr(Stack, "_differentiate", limited)
    with caplog.at_level(logging.INFO):
        found = train_together(jobs, ACCELERATOR, 6)
    assert found == alone(wanted)
    assert distance(jobs, wanted) < 1e-9
    assert [stack.n_slots for stack in stacks] == [6, 3]
    assert [each.getMessage() for each in caplog.records] == [
        "the memory is not enough for 6 models side by side; it goes on with 3"
    ]


@pytest.mark.parametrize("method", ["load", "write", "__init__"])
def test_out_of_memory_between_steps_loses_nothing_either(method, monkeypatch):
    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, n_jobs=5, validation=False) for _ in range(2))
    called, whole = [], getattr(Stack, method)

    def fails_at_third(stack, *arguments, **options):
        called.append(1)
        if len(called) == (1 if method == "__init__" else 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(stack, *arguments, **options)

    monkeypatch.setattr(Stack, method, fails_at_third)
    assert train_together(jobs, ACCELERATOR, 4) == alone(wanted)
    assert distance(jobs, wanted) < 1e-9


def test_without_memory_for_two_each_is_trained_alone(stacks, monkeypatch):
    def fails(stack, part, width):
        raise torch.OutOfMemoryError("CUDA out of memory")

    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, n_jobs=3, validation=False) for _ in range(2))
    monkeypatch.setattr(Stack, "_differentiate", fails)
    assert train_together(jobs, ACCELERATOR, 3) == alone(wanted)
    assert distance(jobs, wanted) == 0
    assert [stack.n_slots for stack in stacks] == [3]


@pytest.mark.parametrize("validation", [True, False])
def test_a_run_that_fails_fails_alone(validation, monkeypatch):
    texts = telling_texts(80, 3)
    wanted, jobs = (jobs_on(*texts, n_jobs=3, validation=validation) for _ in range(2))
    with torch.no_grad():
        jobs[1].model.classifier.weight.fill_(torch.nan)
    found = train_together(jobs, ACCELERATOR, 2)
    assert isinstance(found[1], TrainingError)
    assert "not finite; lower --learning-rate" in str(found[1])
    del jobs[1], wanted[1], found[1]
    assert found == alone(wanted)
    assert distance(jobs, wanted) < 1e-9


def test_a_metric_that_fails_ends_its_run(monkeypatch):
    def failing(model, metric):
        def score(probabilities, labels):
            raise ConfigError("--metric own gives no number")

        return score

    monkeypatch.setattr(run, "scorer_of", failing)
    found = train_together(jobs_on(*telling_texts(80, 3), n_jobs=2), ACCELERATOR, 2)
    assert [str(each) for each in found] == ["--metric own gives no number"] * 2


def test_what_takes_no_steps_or_long_ones_is_done_alone(stacks, monkeypatch):
    """Labels of one class, no labels, and a text so long that its batch would be split."""
    monkeypatch.setattr(trainings, "TOKENS_A_TEXT", 12)
    encoded, labels = telling_texts(80, 3)
    longest = int(encoded.lengths.argmax())
    assert encoded.lengths[longest] == 13

    def odd():
        jobs = jobs_on(encoded, labels, n_jobs=5, validation=False)
        rows = [np.flatnonzero((labels == 1) & (encoded.lengths < 13))[:9], np.zeros(0, np.int64), np.arange(80)]
        for i, own in enumerate(rows):
            jobs[i] = replace(jobs[i], data=LabeledTexts(encoded, own, labels[own]))
        short = np.flatnonzero(encoded.lengths < 13)[:20]
        return jobs[:3] + [replace(job, data=LabeledTexts(encoded, short, labels[short])) for job in jobs[3:]]

    wanted, jobs = odd(), odd()
    found = train_together(jobs, ACCELERATOR, 5)
    assert isinstance(found.pop(1), TrainingError)
    del jobs[1], wanted[1]
    assert found == alone(wanted)
    assert found[0].steps == 0
    assert distance(jobs, wanted) < 1e-9
    assert [stack.n_slots for stack in stacks] == [2]


def test_a_cpu_takes_one_at_a_time_unless_told_otherwise(stacks):
    jobs = jobs_on(*telling_texts(80, 3), n_jobs=2, validation=False)
    train_together(jobs, ACCELERATOR)
    assert not stacks


def test_which_can_be_trained_together():
    job = jobs_on(*telling_texts(80, 3), n_jobs=1)[0]
    assert can_train_together(job.model, job.config)
    for options in ({"gradient_accumulation_steps": 2}, {"distributed_training": True}, {"mixed_precision": "fp16"}):
        assert not can_train_together(job.model, replace(job.config, **options))
    job.model.embedding.requires_grad_(False)
    assert not can_train_together(job.model, job.config)


def test_seconds_are_shared():
    jobs = jobs_on(*telling_texts(120, 3), n_jobs=3)
    found = train_together(jobs, ACCELERATOR, 3)
    assert all(each.seconds > 0 for each in found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_card_the_number_of_slots_changes_nothing_but_rounding(kind):
    texts = telling_texts(120, 3)
    wanted, jobs = (jobs_on(*texts, kind, validation=False) for _ in range(2))
    assert train_together(wanted, ACCELERATOR, 7) == train_together(jobs, ACCELERATOR, 3)
    assert distance(jobs, wanted) < 1e-9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_card_without_dropout_a_run_is_as_if_it_were_alone(kind):
    texts = telling_texts(120, 3)
    wanted, jobs = (jobs_on(*texts, kind, model_options={"dropout": 0.0}) for _ in range(2))
    assert train_together(jobs, ACCELERATOR) == alone(wanted)
    assert distance(jobs, wanted) < 1e-6
