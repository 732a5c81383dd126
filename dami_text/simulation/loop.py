"""The loop of a simulation: the learner asks, the oracle answers, round by round."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from transformers import PreTrainedModel

from dami_text.config.fields import Size
from dami_text.data.pool import Oracle
from dami_text.errors import ConfigError
from dami_text.learning.jobs import Trainings, Work
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.text_learner import TextLearner
from dami_text.models.training import Training
from dami_text.strategies import Query

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Round:
    """What happened in one round of a simulation.

    Examples:
        >>> from dami_text import Oracle, make_learner, simulate, RunConfig
        >>> import numpy as np
        >>> texts = ["a good film", "a bad film", "good music", "bad music", "so good", "so bad"]
        >>> learner = make_learner(texts, ["no", "yes"], RunConfig.of(word_vectors="random", steps=5))
        >>> learner.tell([0, 1], [1, 0])
        >>> oracle = Oracle(np.array([1, 0, 1, 0, 1, 0]))
        >>> [(r.number, r.n_labeled) for r in simulate(learner, oracle, [2, 3, 5], lambda model: {})]
        [(0, 2), (1, 3), (2, 5)]

    Attributes:
        number: from 0.
        n_labeled: the texts that the round's model was trained on.
        training: how that went.
        metrics: of the model, by name.
        query: what is to be labelled next; None in the last round.
        seconds: of training, evaluating and querying, by the names train, evaluate and query, and of asking whether to
            stop, by the name stop.
    """

    number: int
    n_labeled: int
    training: Training
    metrics: dict[str, float]
    query: Query | None
    seconds: dict[str, float]


def simulate(
    learner: ActiveLearner | TextLearner,
    oracle: Oracle,
    n_labeled: Sequence[int],
    evaluate: Callable[[PreTrainedModel], dict[str, float]],
    train: Callable[[Any], Training] | None = None,
    stop: Callable[[PreTrainedModel], bool] | None = None,
) -> Iterator[Round]:
    """Train, evaluate, ask and tell, until `n_labeled[-1]` rows are labelled, or `stop` says that it is enough.

    Examples:
        >>> from dami_text import Oracle, make_learner, RunConfig
        >>> import numpy as np
        >>> config = RunConfig.of(word_vectors="random", steps=5)
        >>> learner = make_learner(["good", "bad", "so so"], ["no", "yes"], config)
        >>> learner.tell([0, 1], [1, 0])
        >>> rounds = list(simulate(learner, Oracle(np.array([1, 0, 0])), [2, 3], lambda model: {"accuracy": 0.5}))
        >>> rounds[1].metrics, learner.pool.labeled.tolist()
        ({'accuracy': 0.5}, [0, 1, 2])

    Args:
        learner: told the labels of `n_labeled[learner.round]` rows.
        oracle: knows the labels.
        n_labeled: the number of labelled rows of each round, from round 0.
        evaluate: metrics by name, of a model as it predicts (see `predicting`).
        train: gives the learner its round's model, if it is not to train one.
        stop: whether to end with a round, told its model.

    Yields:
        Each round before its query's labels are told: what is done with it then comes before anything else happens.
    """

    def trainings() -> Trainings:
        yield from ()  # no job is left to anyone else
        return train(learner) if train else learner.train()

    steps = simulation(learner, oracle, n_labeled, evaluate, trainings, lambda round_: round_, stop)
    return (step for step in steps if isinstance(step, Round))


def simulation(
    learner: ActiveLearner | TextLearner,
    oracle: Oracle,
    n_labeled: Sequence[int],
    evaluate: Callable[[PreTrainedModel], dict[str, float]],
    trainings: Callable[[], Trainings],
    finish: Callable[[Round], T],
    stop: Callable[[PreTrainedModel], bool] | None = None,
) -> Work[T, None]:
    """What `simulate` does, as work that comes to trainings (see `learning.jobs`).

    Args:
        learner, oracle, n_labeled, evaluate, stop: as in `simulate`.
        trainings: gives the learner its round's model.
        finish: what to yield of a round.
    """
    for number in range(learner.round, len(n_labeled)):
        training = yield from trainings()
        trained = time.perf_counter()
        with learner.predicting() as model:
            metrics = evaluate(model)
        evaluated = time.perf_counter()
        more = not (stop and stop(learner.trained_model())) and number + 1 < len(n_labeled)
        decided = time.perf_counter()
        query = learner.ask(n_labeled[number + 1] - n_labeled[number]) if more else None
        seconds = {"train": training.seconds, "evaluate": evaluated - trained, "query": time.perf_counter() - decided}
        if stop is not None:
            seconds["stop"] = decided - evaluated
        n = n_labeled[number]
        yield finish(
            Round(number=number, n_labeled=n, training=training, metrics=metrics, query=query, seconds=seconds)
        )
        if query is None:
            return
        learner.tell(query.rows, oracle.reveal(query.rows))


def schedule(initial_size: Size, query_size: Size, budget: Size, n: int) -> list[int]:
    """How many of n texts are labelled in each round, from round 0 up to the budget.

    Examples:
        >>> schedule(Size(20), Size(30), Size(0.5), n=200)
        [20, 50, 80, 100]

    With shares, round((initial_size + r * query_size) * n) in round r; with counts, initial_size + r * query_size; at
    least one text more than in the round before. The last query is what is left of the budget, so that a query size
    may be larger than it.

    Raises:
        ConfigError: the sizes do not fit each other or the n texts.
    """
    first, total = initial_size.of(n), budget.of(n)
    if total > n:
        raise ConfigError(f"--budget is {budget}, but the training set has {n} texts; lower it to at most {n}")
    if not 1 <= first <= total:
        raise ConfigError(
            f"--initial-size {initial_size} is {first} of {n} texts; it must be from 1 to the budget, which is {total}"
        )
    step = query_size.value * n if query_size.is_share else query_size.value
    if first < total and round(step, 6) < 1:
        raise ConfigError(
            f"--query-size {query_size} is {step:g} of {n} texts; it must be from 1 to the {n - first} that are "
            "unlabelled after the start"
        )
    sizes = [first]
    while sizes[-1] < total:
        if initial_size.is_share and query_size.is_share:
            size = round((initial_size.value + len(sizes) * query_size.value) * n)
        else:
            size = round(first + len(sizes) * step)
        sizes.append(min(max(size, sizes[-1] + 1), total))  # round takes 1.5 and 2.5 both to 2
    return sizes
