from collections.abc import Mapping

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import small_model

from dami_text.config.fields import Size
from dami_text.config.options import TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.pool import Oracle, Pool
from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError, DataError, DataTypeError, QueryError
from dami_text.learning import factory
from dami_text.learning.learner import ActiveLearner
from dami_text.models.inference import predict_probabilities
from dami_text.models.training import train
from dami_text.randomness import numpy_stream, torch_stream
from dami_text.simulation.loop import schedule, simulate
from dami_text.strategies import Query

# schedule -------------------------------------------------------------------------------------------------------


def sizes(initial_size, query_size, budget, n):
    return schedule(Size(initial_size), Size(query_size), Size(budget), n)


def test_the_papers_shares_of_7000_texts_are_25_rounds():
    assert sizes(0.02, 0.02, 0.5, 7000) == [140 * r for r in range(1, 26)]


@pytest.mark.parametrize(
    ("initial_size", "query_size", "budget", "n", "wanted"),
    [
        # round((0.02 + r * 0.02) * 137): 2.74, 5.48, 8.22, 10.96, 13.7
        (0.02, 0.02, 0.1, 137, [3, 5, 8, 11, 14]),
        # round((0.1 + r * 0.25) * 10): 1.0, 3.5, 6.0, 8.5 and what is left
        (0.1, 0.25, 1.0, 10, [1, 4, 6, 8, 10]),
        # 10 + 4 r, and 3 are left for the last query
        (10, 4, 21, 100, [10, 14, 18, 21]),
        (10, 5, 20, 100, [10, 15, 20]),
        (10, 50, 20, 100, [10, 20]),
        # a count and then shares of 1.5 texts: 5, 6.5, 8.0, 9.5, of which halves go to the even number
        (5, 0.15, 1.0, 10, [5, 6, 8, 10]),
        # a share, 0.25 * 50 = 12.5, and then counts
        (0.25, 3, 20, 50, [12, 15, 18, 20]),
        (0.02, 0.02, 20, 200, [4, 8, 12, 16, 20]),
        # nothing to ask for: the query size does not matter
        (1.0, 0.02, 1.0, 20, [20]),
        (20, 50, 20, 20, [20]),
        (1, 1, 3, 3, [1, 2, 3]),
        # 0.1 and 0.2 have no exact binary form; 10 * 0.07 * 100 would be 7.000000000000001 a round
        (0.1, 0.2, 0.9, 10, [1, 3, 5, 7, 9]),
        (0.93, 0.07, 1.0, 100, [93, 100]),
    ],
)
def test_the_labelled_texts_of_each_round(initial_size, query_size, budget, n, wanted):
    assert sizes(initial_size, query_size, budget, n) == wanted


def test_each_round_has_more_texts_than_the_one_before_also_where_halves_are_rounded_down():
    # (0.03 + r * 0.02) * 50 = 1.5, 2.5, 3.5, 4.5, 5.5, which round to 2, 2, 4, 4, 6
    assert sizes(0.03, 0.02, 0.11, 50) == [2, 3, 4, 5, 6]


def test_a_query_that_is_larger_than_the_rest_is_the_rest():
    assert sizes(10, 91, 20, 100) == [10, 20]
    assert sizes(10, 0.95, 100, 100) == [10, 100]
    assert sizes(0.1, 500, 1.0, 100) == [10, 100]


@pytest.mark.parametrize("n", [1, 2, 7, 20, 49, 50, 1000])
def test_sizes_that_are_left_open_are_one_text_at_least(n):
    found = schedule(**RunConfig().sizes_of(n), n=n)
    assert found[0] >= 1
    assert found == sorted(set(found))
    if n >= 75:
        assert found == schedule(**RunConfig().sizes, n=n)


@pytest.mark.parametrize(
    ("initial_size", "query_size", "budget", "message"),
    [
        (10, 10, 101, "--budget is 101, but the training set has 100 texts; lower it to at most 100"),
        (30, 10, 20, "--initial-size 30 is 30 of 100 texts; it must be from 1 to the budget, which is 20"),
        (0.004, 10, 20, "--initial-size 0.004 is 0 of 100 texts; it must be from 1 to the budget, which is 20"),
        (
            10,
            0.005,
            20,
            "--query-size 0.005 is 0.5 of 100 texts; it must be from 1 to the 90 that are unlabelled after the start",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_an_error(initial_size, query_size, budget, message):
    with pytest.raises(ConfigError) as error:
        sizes(initial_size, query_size, budget, 100)
    assert str(error.value) == message


# ActiveLearner --------------------------------------------------------------------------------------------------

LABELS = np.arange(60) % 2


class Lowest:
    """Asks for the lowest unlabelled rows, and remembers what it was given."""

    def __init__(self, returned=None):
        self.returned, self.calls = returned, []

    def query(self, model, pool, n, rng):
        self.calls.append((model, pool, n, rng))
        return Query.of(self.returned if self.returned is not None else pool.unlabeled[:n])


@pytest.fixture
def make_learner(encoded):
    """Makes learners over 60 texts, of two training steps a round."""
    texts, tokenizer = encoded

    def make(strategy=None, seed=0, **options):
        return ActiveLearner(
            texts,
            lambda: small_model("cnn", len(tokenizer), seed=int(torch.randint(1000, ()))),
            strategy or Lowest(),
            2,
            training=TrainingConfig(steps=2, epochs=2, epoch_steps=1, train_batch_size=4),
            seed=seed,
            **options,
        )

    return make


@pytest.mark.parametrize("dead", [0, 1, 2, 3])
def test_a_training_that_does_not_learn_is_repeated_with_other_seeds(encoded, dead, caplog):
    """The first models' filters are so negative that nothing passes them: they can only guess."""
    texts, tokenizer = encoded
    drawn = []

    def new_model():
        drawn.append(int(torch.randint(10**6, ())))
        model = small_model("cnn", len(tokenizer), seed=drawn[-1])
        if len(drawn) <= dead:
            for convolution in model.convolutions:
                torch.nn.init.constant_(convolution.bias, -1e6)
        return model

    config = TrainingConfig(steps=100, train_batch_size=10, learning_rate=1e-2)
    learner = ActiveLearner(texts, new_model, Lowest(), 2, training=config, seed=3)
    learner.tell(np.arange(40), LABELS[:40])
    assert learner.train().has_learned == (dead < 3)
    assert len(drawn) == len(set(drawn)) == min(dead + 1, 3)
    assert len(caplog.messages) == dead
    assert all("round 0 has not learned in 100 steps" in message for message in caplog.messages)
    assert ["is trained again" in message for message in caplog.messages] == [True, True, False][:dead]
    if dead < 3:  # by hand, from the streams of the attempt that went well
        purposes = [f"{purpose} {dead}" if dead else purpose for purpose in ("training", "batches")]
        with torch_stream(3, 0, purposes[0]):
            model = new_model()
            data = LabeledTexts(texts, np.arange(40), LABELS[:40])
            rng = numpy_stream(3, 0, purposes[1])
            train(model, data, None, config=config, accelerator=Accelerator(), rng=rng)
        weights = learner.trained_model().state_dict()
        assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def weights(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_tell_adds_rows_and_labels_and_begins_a_round(make_learner):
    learner = make_learner()
    assert (learner.round, learner.model, len(learner.labels)) == (-1, None, 0)
    learner.tell([7, 3], [1, 0])
    assert learner.round == 0
    np.testing.assert_array_equal(learner.pool.labeled, [3, 7])
    np.testing.assert_array_equal(learner.labels, [0, 1])
    learner.train()
    learner.tell(np.array([5]), np.array([1]))
    assert (learner.round, learner.model) == (1, None)
    np.testing.assert_array_equal(learner.pool.labeled, [3, 5, 7])
    np.testing.assert_array_equal(learner.labels, [0, 1, 1])


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([5, 6], [0], r"rows of shape \(2,\) and labels of shape \(1,\); wanted one label a row"),
        ([], [], "wanted one label a row"),
        ([[5]], [[0]], r"rows of shape \(1, 1\); wanted a list of rows"),
        ([4, 5, 5], [0, 0, 0], "row 5 is there twice; give each row once"),
        ([5, 60], [0, 0], "row 60 is not in the pool; rows are from 0 to 59"),
        ([-1], [0], "row -1 is not in the pool; rows are from 0 to 59"),
        ([5, 6], [0, -1], "row 6 has the label -1; labels are integers from 0 to 1, the numbers of the classes"),
        ([5, 6], [7, 0], "row 5 has the label 7; labels are integers from 0 to 1, the numbers of the classes"),
        ([5, 6], [1.0, 0.5], "row 5 has the label 1.0; labels are integers"),
        ([5, 6], ["pos", "neg"], "row 5 has the label 'pos'; labels are integers"),
        ([5.5, 6], [0, 1], "got rows such as 5.5; rows are integers, places in the pool"),
    ],
)
def test_what_cannot_be_told_changes_nothing(make_learner, rows, labels, message):
    learner = make_learner()
    learner.tell([3, 7], [0, 1])
    model = learner.trained_model()
    with pytest.raises(ValueError, match=message):
        learner.tell(rows, labels)
    assert (learner.round, learner.model is model) == (0, True)
    np.testing.assert_array_equal(learner.pool.labeled, [3, 7])
    np.testing.assert_array_equal(learner.labels, [0, 1])


def test_a_row_that_is_told_again_is_corrected_and_begins_a_round(make_learner):
    learner, once = make_learner(), make_learner()
    learner.tell([3, 7], [0, 1])
    learner.train()
    learner.tell([7, 9], [0, 1])
    assert (learner.round, learner.model) == (1, None)
    np.testing.assert_array_equal(learner.pool.labeled, [3, 7, 9])
    np.testing.assert_array_equal(learner.labels, [0, 0, 1])
    assert set(learner.pool.unlabeled.tolist()) == set(range(60)) - {3, 7, 9}
    once.tell([3, 7, 9], [0, 0, 1], round_number=1)
    assert same(weights(learner.trained_model()), weights(once.trained_model())), "as if it had been told so at once"


def test_ask_gives_the_strategy_the_rounds_model_and_pool(make_learner):
    strategy = Lowest()
    learner = make_learner(strategy)
    learner.tell([0, 2], [0, 1])
    query = learner.ask(3)
    np.testing.assert_array_equal(query.rows, [1, 3, 4])
    ((model, pool, n, rng),) = strategy.calls
    assert model is learner.model
    assert pool is learner.pool
    assert (n, rng.integers(2**32)) == (3, _first_draw(0, 0))
    learner.ask(3)
    assert strategy.calls[1][0] is model, "a round has one model, however often one asks"
    assert strategy.calls[1][3].integers(2**32) == _first_draw(0, 0)


def test_a_subsample_of_the_pool_is_drawn_in_each_round(make_learner):
    strategy = Lowest()
    learner = make_learner(strategy, pool_subsample=20)
    learner.tell([0, 2], [0, 1])
    query = learner.ask(3)
    assert query.details == {"considered": 20}
    learner.ask(3)
    learner.tell(query.rows, [0, 1, 0])
    assert learner.ask(30).details == {"considered": 30}, "at least as many as are asked for"
    offered = [set(pool.unlabeled.tolist()) for _, pool, _, _ in strategy.calls]
    assert [len(rows) for rows in offered] == [20, 20, 30]
    assert offered[0] == offered[1], "a round has one subsample"
    assert not offered[2] & set(learner.pool.labeled.tolist())
    other = Lowest()
    learner = make_learner(other, seed=1, pool_subsample=20)
    learner.tell([0, 2], [0, 1])
    learner.ask(3)
    assert set(other.calls[0][1].unlabeled.tolist()) != offered[0]


def test_rows_outside_of_the_subsample_break_the_contract(make_learner):
    learner = make_learner(Lowest(), pool_subsample=20)
    learner.tell([0, 2], [0, 1])
    learner.ask(1)
    strategy = Lowest(returned=sorted(set(range(1, 60)) - {2} - set(learner.strategy.calls[0][1].unlabeled))[:1])
    learner = make_learner(strategy, pool_subsample=20)
    learner.tell([0, 2], [0, 1])
    with pytest.raises(QueryError, match="which is not among the pool's unlabelled rows"):
        learner.ask(1)


def _first_draw(seed, number):
    from dami_text.randomness import numpy_stream

    return numpy_stream(seed, number, "query").integers(2**32)


@pytest.mark.parametrize("n", [0, -1])
def test_ask_wants_a_number_of_rows(make_learner, n):
    strategy = Lowest()
    learner = make_learner(strategy)
    learner.tell([0, 2], [0, 1])
    with pytest.raises(ValueError, match=f"asked for {n} rows; it must be at least 1"):
        learner.ask(n)
    assert (learner.model, strategy.calls) == (None, [])


def test_a_query_that_is_larger_than_the_rest_is_the_rest_and_after_it_nothing_is_left(make_learner):
    learner = make_learner(Lowest())
    learner.tell([0, 2], [0, 1])
    rest = learner.ask(59).rows
    assert rest.tolist() == [1, *range(3, 60)]
    learner.tell(rest, [0] * 58)
    with pytest.raises(ValueError, match="nothing is left to ask for: all 60 texts are labelled"):
        learner.ask(1)


def test_what_a_learner_writes_is_all_that_a_pipeline_needs(tmp_path):
    from transformers import pipeline

    from dami_text import make_learner

    texts = ["a good film", "a bad film", "good and warm", "bad and cold", "good", "bad"]
    learner = make_learner(texts, ["neg", "pos"], RunConfig.of(word_vectors="random", word_vector_dim=4, steps=5))
    learner.tell([0, 1], [1, 0])
    learner.save_pretrained(tmp_path / "model")
    classify = pipeline("text-classification", model=str(tmp_path / "model"))
    found = predict_probabilities(learner.trained_model(), learner.pool.texts, np.arange(6))
    for text, p in zip(texts, found, strict=True):
        (answer,) = classify(text)
        assert answer["label"] == ["neg", "pos"][p.argmax()]
        assert answer["score"] == pytest.approx(p.max(), abs=1e-5)


@pytest.mark.parametrize("verb", ["train", "trained_model"])
def test_nothing_is_trained_on_nothing(make_learner, verb):
    with pytest.raises(ValueError, match="nothing is labelled yet; tell labels first"):
        getattr(make_learner(), verb)()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1, 3, 3], "the strategy returned row 3 more than once; rows must be distinct"),
        ([1, 3, 0], "the strategy returned row 0, which is not among the pool's unlabelled rows"),
        ([1, 3, 60], "the strategy returned row 60, which is not among the pool's unlabelled rows"),
        ([1, 3, -1], "the strategy returned row -1, which is not among the pool's unlabelled rows"),
        ([1, 3], "the strategy returned 2 rows and 2 reasons; 3 each were asked for"),
        ([1, 3, 4, 5], "the strategy returned 4 rows and 4 reasons; 3 each were asked for"),
    ],
)
def test_a_query_that_breaks_the_contract_is_an_error_and_labels_nothing(make_learner, returned, message):
    learner = make_learner(Lowest(returned))
    learner.tell([0, 2], [0, 1])
    with pytest.raises(QueryError) as error:
        learner.ask(3)
    assert str(error.value) == message
    np.testing.assert_array_equal(learner.pool.labeled, [0, 2])
    assert learner.round == 0


def test_a_query_needs_a_reason_a_row(make_learner):
    class Wordless:
        def query(self, model, pool, n, rng):
            return Query(pool.unlabeled[:n], [{}], {})

    learner = make_learner(Wordless())
    learner.tell([0, 2], [0, 1])
    with pytest.raises(QueryError, match="returned 3 rows and 1 reasons; 3 each were asked for"):
        learner.ask(3)


def test_a_round_depends_on_its_number_and_labels_not_on_what_was_trained_before(make_learner):
    first, second = make_learner(), make_learner()
    for learner, trains in ((first, True), (second, False)):
        torch.rand(3 if trains else 5)
        learner.tell([0, 2, 9], LABELS[[0, 2, 9]])
        if trains:
            learner.train()
            learner.ask(2)
        learner.tell([20, 31], LABELS[[20, 31]])
    assert same(weights(first.trained_model()), weights(second.trained_model()))


def test_a_new_model_is_made_and_trained_in_each_round(make_learner):
    learner = make_learner()
    learner.tell([0, 2, 9], LABELS[[0, 2, 9]])
    before = learner.trained_model()
    learner.tell([20, 31], LABELS[[20, 31]])
    after = learner.trained_model()
    assert after is not before
    assert not same(weights(before), weights(after))


def test_each_round_and_seed_begin_with_weights_of_their_own(encoded):
    """Were they the same, a round's result would hang on one draw, and an average over rounds too."""
    texts, tokenizer = encoded

    def begun(seed):
        made = []

        def new_model():
            with torch.random.fork_rng():  # the same draws as the model itself, which small_model would make apart
                made.append(torch.rand(6))
            return small_model("cnn", len(tokenizer), seed=int(torch.randint(1000, ())))

        learner = ActiveLearner(texts, new_model, Lowest(), 2, training=TrainingConfig(steps=1), seed=seed)
        for rows in ([0, 2, 9], [20, 31], [40]):
            learner.tell(rows, LABELS[rows])
            learner.train()
        return [tuple(drawn.tolist()) for drawn in made]

    first, again, other = begun(0), begun(0), begun(1)
    assert first == again
    assert len({*first, *other}) == 6


def test_another_seed_trains_another_model(make_learner):
    models = []
    for seed in (0, 1):
        learner = make_learner(seed=seed)
        learner.tell([0, 2, 9], LABELS[[0, 2, 9]])
        models.append(learner.trained_model())
    assert not same(*map(weights, models))


def test_training_leaves_torchs_generator_as_it_was(make_learner):
    learner = make_learner()
    learner.tell([0, 2, 9], LABELS[[0, 2, 9]])
    state = torch.get_rng_state()
    learner.ask(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_with_a_validation_split_training_reports_its_accuracy(make_learner, encoded):
    texts, _ = encoded
    validation = LabeledTexts(texts, np.arange(40, 50), LABELS[40:50])
    learner = make_learner(validation=validation)
    learner.tell([0, 2, 9], LABELS[[0, 2, 9]])
    accuracy = learner.train().validation_score
    assert accuracy in [i / 10 for i in range(11)]


# make_learner ---------------------------------------------------------------------------------------------------

TEXTS = ["good film", "dull film", "good cast"]


@pytest.mark.parametrize(
    ("texts", "class_names", "error", "message"),
    [
        ("good film", ["neg", "pos"], DataError, "texts is one string, 'good film'; it must be a list of strings"),
        ([], ["neg", "pos"], DataError, "texts is empty; give one text or more"),
        ([*TEXTS, 1.5], ["neg", "pos"], DataTypeError, "text 3 is 1.5; every text must be a string"),
        (
            datasets.Dataset.from_dict({"body": TEXTS}),
            ["neg", "pos"],
            DataError,
            "no column 'text' among 'body'; name the texts' with text_column",
        ),
        (
            datasets.Dataset.from_dict({"text": [1]}),
            ["neg", "pos"],
            DataError,
            "column 'text', text 0 is 1; every text must",
        ),
        (TEXTS, ["pos"], ConfigError, r"class_names is \['pos'\]; it must be a list of two names or more"),
        (TEXTS, ["pos", "pos"], ConfigError, "two names or more, all different"),
        (TEXTS, "np", ConfigError, "class_names is 'np'; it must be a list"),
    ],
)
def test_a_learner_of_ones_own_texts_wants_texts_and_class_names(texts, class_names, error, message):
    with pytest.raises(error, match=message):
        factory.make_learner(texts, class_names)


def test_a_process_has_one_precision(make_learner):
    precision = make_learner()._accelerator.mixed_precision
    other = "no" if precision == "bf16" else "bf16"
    options = RunConfig.of(word_vectors="random", mixed_precision=other)
    with pytest.raises(ConfigError, match=f"mixed_precision {other} cannot be used in this process"):
        factory.make_learner(TEXTS, ["neg", "pos"], options)


# simulate -------------------------------------------------------------------------------------------------------


def test_a_simulation_trains_evaluates_asks_and_tells(make_learner):
    strategy = Lowest()
    learner = make_learner(strategy)
    learner.tell([0, 2], LABELS[[0, 2]])
    evaluated = []

    def evaluate(model):
        evaluated.append(model)
        return {"accuracy": len(evaluated) / 10}

    rounds, labeled = [], []
    for round_ in simulate(learner, Oracle(LABELS), [2, 5, 6], evaluate):
        rounds.append(round_)
        labeled.append(learner.pool.labeled.tolist())
    assert [(r.number, r.n_labeled, r.metrics) for r in rounds] == [
        (0, 2, {"accuracy": 0.1}),
        (1, 5, {"accuracy": 0.2}),
        (2, 6, {"accuracy": 0.3}),
    ]
    assert [r.query.rows.tolist() if r.query else None for r in rounds] == [[1, 3, 4], [5], None]
    assert labeled == [[0, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]], "a round is yielded before its labels are told"
    np.testing.assert_array_equal(learner.labels, [0, 1, 0, 1, 0, 1])
    assert len(set(map(id, evaluated))) == 3
    assert all(r.seconds.keys() == {"train", "evaluate", "query"} for r in rounds)
    assert [r.training.steps for r in rounds] == [0, 2, 2], "the first labels are of one class: nothing is to learn"


def test_a_simulation_goes_on_from_the_learners_round(make_learner):
    learner = make_learner()
    learner.tell([0, 2], LABELS[[0, 2]])
    learner.tell([1, 3, 4], LABELS[[1, 3, 4]])
    rounds = list(simulate(learner, Oracle(LABELS), [2, 5, 6], lambda model: {}))
    assert [(r.number, r.n_labeled) for r in rounds] == [(1, 5), (2, 6)]


# Labels -----------------------------------------------------------------------------------------------------------


def reachable(value, seen):
    """Everything that can be reached from a value by attributes and items, arrays and tables included."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | type):
        return
    seen[id(value)] = value
    yield value
    parts = list(vars(value).values()) if hasattr(value, "__dict__") else []
    if isinstance(value, Mapping):
        parts += value.values()
    elif isinstance(value, list | tuple | set):
        parts += value
    elif isinstance(value, np.ndarray) and value.base is not None:
        parts.append(value.base)
    for part in parts:
        yield from reachable(part, seen)


def test_what_a_strategy_is_given_holds_no_labels_but_those_that_were_told(encoded):
    texts, tokenizer = encoded
    labels = np.random.default_rng(0).integers(0, 2, 60)
    strategy = Lowest()
    learner = ActiveLearner(
        texts, lambda: small_model("cnn", len(tokenizer)), strategy, 2, training=TrainingConfig(steps=1)
    )
    learner.tell(np.arange(40), labels[:40])
    learner.ask(2)
    ((_, pool, _, rng),) = strategy.calls
    assert type(pool) is Pool
    found = list(reachable([pool, rng], {}))
    assert any(value is texts.lengths for value in found), "the search goes deep"
    tables = [value for value in found if isinstance(value, datasets.Dataset)]
    assert tables
    assert all(set(table.column_names) <= {"text", "input_ids"} for table in tables)
    assert all(set(table.data.column_names) <= {"text", "input_ids"} for table in tables)
    arrays = [np.asarray(value) for value in found if isinstance(value, np.ndarray)]
    assert not any(array.shape == (60,) and np.array_equal(array, labels) for array in arrays)
    like_labels = [array for array in arrays if array.shape == (40,) and np.array_equal(array, labels[:40])]
    assert [id(array) for array in like_labels] == [id(pool.labels)]


def test_excluded_rows_are_never_asked_for_but_their_labels_can_be_told(make_learner):
    learner = make_learner()
    learner.exclude([0, 1, 5])
    assert learner.ask(55).rows.max() < 60
    assert set(learner.ask(57).rows.tolist()) == set(range(60)) - {0, 1, 5}
    learner.tell([2, 1], [0, 1])
    learner.exclude(np.array([6]))
    assert learner.ask(60).rows.tolist() == [3, 4, *range(7, 60)]
    assert learner.pool.labeled.tolist() == [1, 2]
    learner.tell([1], [0])
    assert learner.ask(60).rows.tolist() == [3, 4, *range(7, 60)], "a correction brings none of them back"


def test_labels_of_several_rounds_are_told_at_once(make_learner):
    learner, replayed = make_learner(), make_learner()
    learner.tell([0, 3, 4, 9], [0, 1, 0, 1], round_number=2)
    assert learner.round == 2
    for rows, labels in (([0], [0]), ([3], [1]), ([4, 9], [0, 1])):
        replayed.tell(rows, labels)
    for one in (learner, replayed):
        one.train()
    weights = [one.model.state_dict() for one in (learner, replayed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    learner.tell([5], [1])
    assert learner.round == 3
