"""The loop of a simulation: the learner asks, the oracle answers, round by round."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from dami_text.config.fields import Size
from dami_text.data.pool import Oracle
from dami_text.errors import ConfigError
from dami_text.learning.learner import ActiveLearner
from dami_text.models.training import Training
from dami_text.strategies import Query


@dataclass(frozen=True, kw_only=True)
class Round:
    """What happened in one round of a simulation; `query` is None in the last one.

    `seconds` are of training, of evaluating and of querying.
    """

    number: int
    n_labeled: int
    training: Training
    metrics: dict[str, float]
    query: Query | None
    seconds: dict[str, float]


def simulate(
    learner: ActiveLearner,
    oracle: Oracle,
    n_labeled: Sequence[int],
    evaluate: Callable[[PreTrainedModel], dict[str, float]],
    train: Callable[[ActiveLearner], Training] | None = None,
) -> Iterator[Round]:
    """Train, evaluate, ask and tell, until `n_labeled[-1]` rows are labelled.

    Args:
        learner: told the labels of `n_labeled[learner.round]` rows.
        oracle: knows the labels.
        n_labeled: the number of labelled rows of each round, from round 0.
        evaluate: metrics by name, of a model.
        train: gives the learner its round's model, if it is not to train one.

    Yields:
        Each round before its query's labels are told: what is done with it then comes before anything else happens.
    """
    for number in range(learner.round, len(n_labeled)):
        training = train(learner) if train else learner.train()
        trained = time.perf_counter()
        metrics = evaluate(learner.trained_model())
        evaluated = time.perf_counter()
        more = number + 1 < len(n_labeled)
        query = learner.ask(n_labeled[number + 1] - n_labeled[number]) if more else None
        seconds = {"train": training.seconds, "evaluate": evaluated - trained, "query": time.perf_counter() - evaluated}
        yield Round(
            number=number, n_labeled=n_labeled[number], training=training, metrics=metrics, query=query, seconds=seconds
        )
        if query is not None:
            learner.tell(query.rows, oracle.reveal(query.rows))


def schedule(initial_size: Size, query_size: Size, budget: Size, n: int) -> list[int]:
    """How many of n texts are labelled in each round, from round 0 up to the budget.

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
