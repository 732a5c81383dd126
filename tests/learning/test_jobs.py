"""Trainings as jobs: whoever does them, and whatever happens in between, a learner gets the same model."""

import time

import numpy as np
import pytest
import torch
from conftest import small_model

from dami_text.config.options import TrainingConfig
from dami_text.errors import DataError
from dami_text.learning.jobs import in_turn, result_of
from dami_text.learning.learner import ActiveLearner
from dami_text.models.jobs import TrainingJob
from dami_text.models.training import Training
from dami_text.strategies import Query

LABELS = np.arange(60) % 2


class Lowest:
    """Asks for the lowest unlabelled rows."""

    def query(self, model, pool, n, rng):
        return Query.of(pool.unlabeled[:n])


def told(encoded, seed, new_model=None):
    """A learner that was told some labels; its models have dropout."""
    texts, tokenizer = encoded
    learner = ActiveLearner(
        texts,
        new_model or (lambda: small_model("cnn", len(tokenizer), seed=int(torch.randint(1000, ())), dropout=0.5)),
        Lowest(),
        2,
        training=TrainingConfig(steps=3, train_batch_size=4),
        seed=seed,
    )
    rows = np.arange(20) + 10 * seed
    learner.tell(rows, LABELS[rows])
    return learner


def weights(learner):
    return {name: weight.clone() for name, weight in learner.trained_model().state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_learners_that_take_turns_learn_what_each_learns_alone(encoded):
    alone = []
    for seed in range(3):
        learner = told(encoded, seed)
        learner.train()
        alone.append(weights(learner))
    assert not same(alone[0], alone[1])

    learners = [told(encoded, seed) for seed in range(3)]
    before = torch.get_rng_state()
    works = [learner.training_jobs() for learner in learners]
    jobs = [next(work) for work in works]
    assert torch.equal(torch.get_rng_state(), before), "what is suspended holds no random state"
    for i in (2, 0, 1):
        torch.rand(i + 1)
        state = torch.get_rng_state()
        training = learners[0].train_job(jobs[i])
        assert torch.equal(torch.get_rng_state(), state)
        with pytest.raises(StopIteration) as end:
            works[i].send(training)
        assert (end.value.value.steps, end.value.value) == (3, training)
    assert all(same(weights(learner), found) for learner, found in zip(learners, alone, strict=True))


def test_a_training_that_does_not_learn_is_another_job(encoded):
    learner = told(encoded, 0)
    work = learner.training_jobs()
    failed = Training(epochs=1, steps=100, validation_score=None, has_learned=False, seconds=2.0)
    first = next(work)
    second = work.send(failed)
    assert second.model is not first.model
    assert not torch.equal(second.state.cpu, first.state.cpu)
    assert first.rng.random() != second.rng.random()
    with pytest.raises(StopIteration) as end:
        work.send(Training(epochs=1, steps=3, validation_score=None, seconds=0.5))
    assert learner.model is second.model
    assert 2.5 < end.value.value.seconds < 12.5, "those of both, and of making the models"


def test_what_is_thrown_in_leaves_the_learner_without_a_model(encoded):
    learner = told(encoded, 0)
    learner.train()
    work = learner.training_jobs()
    next(work)
    with pytest.raises(ArithmeticError):
        work.throw(ArithmeticError())
    assert learner.model is None


def test_nothing_is_labelled(encoded):
    texts, _ = encoded
    learner = ActiveLearner(texts, lambda: None, Lowest(), 2)
    with pytest.raises(DataError, match="nothing is labelled yet"):
        next(learner.training_jobs())


def test_in_turn_does_the_jobs_asks_again_and_gives_the_rest(encoded, monkeypatch):
    job = next(told(encoded, 0).training_jobs())
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def work():
        assert (yield job) == "trained"
        assert (yield None) is None
        assert (yield "a line") is None
        assert (yield job) == "trained"
        return "the end"

    asked = []
    found = []

    def train(job):
        assert isinstance(job, TrainingJob)
        asked.append(job)
        return "trained"

    def outer():
        found.append((yield from in_turn(work(), train)))

    assert list(outer()) == ["a line"]
    assert (found, len(asked), len(slept)) == (["the end"], 2, 1)
    assert result_of(in_turn(work(), train)) == "the end"


def test_work_that_is_left_is_closed(encoded):
    job = next(told(encoded, 0).training_jobs())
    closed = []

    def work():
        try:
            yield job
        finally:
            closed.append(True)

    def fails(_):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        result_of(in_turn(work(), fails))
    assert closed
