from dataclasses import FrozenInstanceError, fields

import pytest

from dami_text.config.conflicts import OF_TABLES, OF_TEXTS
from dami_text.config.defaults import TRAINED_VECTORS
from dami_text.config.fields import Size
from dami_text.config.options import LoopConfig
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError

TOPICS = [type(topic.default) for topic in fields(RunConfig)]


@pytest.mark.parametrize(
    ("given", "value", "is_share"),
    [
        ("0.02", 0.02, True),
        ("1e-2", 0.01, True),
        ("1.0", 1.0, True),
        (".5", 0.5, True),
        ("50", 50, False),
        ("1", 1, False),
        ("-3", -3, False),
        (" 7 ", 7, False),
        (0.3, 0.3, True),
        (12, 12, False),
        (Size("0.02"), 0.02, True),
    ],
)
def test_a_decimal_point_makes_a_size_a_share(given, value, is_share):
    size = Size(given)
    assert (size.value, size.is_share) == (value, is_share)
    assert type(size.value) is (float if is_share else int)


@pytest.mark.parametrize(
    ("size", "total", "wanted"),
    [("0.02", 7000, 140), ("1.0", 7, 7), ("0.5", 5, 2), ("0.001", 100, 0), ("50", 7000, 50), ("50", 10, 50)],
)
def test_a_share_is_of_the_total_and_a_count_is_itself(size, total, wanted):
    assert Size(size).of(total) == wanted


@pytest.mark.parametrize("given", ["abc", "", "1/2", "5%", "--5", "²", True, None, [1]])
def test_what_is_no_number_is_no_size(given):
    with pytest.raises(ValueError, match=r"^a count such as 50 or a share such as 0\.02$"):
        Size(given)


SIZE = "in (0, 1] as a share of the training set, or a count of at least 1"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("initial_size", "0", f"--initial-size is 0; it must be {SIZE}"),
        ("initial_size", 0.0, f"--initial-size is 0.0; it must be {SIZE}"),
        ("query_size", "-3", f"--query-size is -3; it must be {SIZE}"),
        ("query_size", "1.5", f"--query-size is 1.5; it must be {SIZE}"),
        ("query_size", "-0.1", f"--query-size is -0.1; it must be {SIZE}"),
        ("query_size", "nan", f"--query-size is nan; it must be {SIZE}"),
        ("budget", "1e3", f"--budget is 1000.0; it must be {SIZE}"),
        ("budget", "abc", "--budget is 'abc'; it must be a count such as 50 or a share such as 0.02"),
        ("budget", True, "--budget is True; it must be a count such as 50 or a share such as 0.02"),
        ("seed", -1, "--seed is -1; it must be from 0 to 4294967295"),
        ("seed", 2**32, "--seed is 4294967296; it must be from 0 to 4294967295"),
        ("seed", None, "--seed is None; it must be an integer"),
        ("seed", True, "--seed is True; it must be an integer"),
        ("seed", 1.0, "--seed is 1.0; it must be an integer"),
        ("dataset", "", "--dataset is ''; it must be a name, a path or a Hub id"),
        ("dataset", 3, "--dataset is 3; it must be text"),
        ("splits", "random", "--splits is 'random'; it must be one of resplit, stratified, keep"),
        ("lowercase", "yes", "--lowercase is 'yes'; it must be true or false"),
        ("lowercase", 1, "--lowercase is 1; it must be true or false"),
        ("max_vocabulary", 2, "--max-vocabulary is 2; it must be at least 3 (padding, unknown, one word)"),
        ("max_length", 0, "--max-length is 0; it must be at least 1"),
        ("word_vector_dim", 0, "--word-vector-dim is 0; it must be at least 1"),
        ("word_vector_texts", 0, "--word-vector-texts is 0; it must be at least 1"),
        ("model", " ", "--model is ' '; it must be cnn, bilstm, or a folder or Hub id of an encoder"),
        ("optimizer", "sgd", "--optimizer is 'sgd'; it must be one of adam, adamw"),
        ("warmup_steps", -1, "--warmup-steps is -1; it must be at least 0"),
        ("gradient_accumulation_steps", 0, "--gradient-accumulation-steps is 0; it must be at least 1"),
        (
            "metric",
            "f2",
            "--metric is 'f2'; it must be one of accuracy, macro_f1, micro_f1, roc_auc, balanced_accuracy, "
            "matthews_correlation, average_precision, f1, precision, recall, f1:CLASS, precision:CLASS, recall:CLASS, "
            "average_precision:CLASS, or the path or Hub id of a metric; or, with --task multilabel, one of micro_f1, "
            "macro_f1, samples_f1, subset_accuracy, average_precision, micro_average_precision, f1:LABEL, "
            "precision:LABEL, recall:LABEL, average_precision:LABEL",
        ),
        (
            "cold_start",
            "none",
            "--cold-start is 'none'; it must be one of random, typical, described, kmeans-features, strategy, "
            "balanced, auto",
        ),
        ("task", "table", "--task is 'table'; it must be one of text, multilabel, tabular"),
        ("hashed_features", 0, "--hashed-features is 0; it must be at least 1"),
        ("dropout", 1.0, "--dropout is 1.0; it must be at least 0 and less than 1"),
        ("dropout", -0.1, "--dropout is -0.1; it must be at least 0 and less than 1"),
        ("dropout", float("nan"), "--dropout is nan; it must be at least 0 and less than 1"),
        ("learning_rate", 0.0, "--learning-rate is 0.0; it must be greater than 0 and finite"),
        ("learning_rate", float("nan"), "--learning-rate is nan; it must be greater than 0 and finite"),
        ("learning_rate", float("inf"), "--learning-rate is inf; it must be greater than 0 and finite"),
        ("learning_rate", "fast", "--learning-rate is 'fast'; it must be a number"),
        ("weight_decay", -1.0, "--weight-decay is -1.0; it must be at least 0 and finite"),
        ("train_batch_size", 0, "--train-batch-size is 0; it must be at least 1"),
        ("epochs", 0, "--epochs is 0; it must be at least 1"),
        ("epochs", "many", "--epochs is 'many'; it must be an integer"),
        ("epoch_steps", 0, "--epoch-steps is 0; it must be at least 1"),
        ("evaluation_steps", -1, "--evaluation-steps is -1; it must be at least 0"),
        ("averaging_steps", 1, "--averaging-steps is 1; it must be 0, or at least 2"),
        ("patience", 0, "--patience is 0; it must be at least 1"),
        ("steps", 0, "--steps is 0; it must be at least 1"),
        ("class_weights", "some", "--class-weights is 'some'; it must be one of none, balanced"),
        ("mixed_precision", "fp8", "--mixed-precision is 'fp8'; it must be one of no, fp16, bf16"),
        ("inference_batch_size", 0, "--inference-batch-size is 0; it must be at least 1"),
    ],
)
def test_a_wrong_value_gives_one_error_of_flag_value_and_what_is_wanted(option, value, message):
    with pytest.raises(ConfigError) as error:
        RunConfig.of_options({option: value})
    assert str(error.value) == message


@pytest.mark.parametrize("metric", ["f1:", "accuracy:spam", "F1", ":spam"])
def test_a_metric_of_no_such_name_is_an_error(metric):
    with pytest.raises(ConfigError, match=r"^--metric is .*; it must be one of accuracy, "):
        RunConfig.of_options({"metric": metric})


def test_an_unknown_strategy_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"^--strategy is 'damy'; it must be one of .*random.*dami"):
        RunConfig.of_options({"strategy": "damy"})


def test_an_unknown_option_is_an_error():
    with pytest.raises(ConfigError, match=r"unknown options \['sed'\]; the options are listed by --help"):
        RunConfig.of_options({"sed": 3, "epochs": 2})


def test_values_on_the_border_work():
    config = RunConfig.of(initial_size=1, query_size="1.0", budget=1.0, dropout=0, seed=2**32 - 1, learning_rate=1)
    assert (config.loop.initial_size, config.loop.query_size, config.loop.budget) == (Size(1), Size(1.0), Size(1.0))
    assert config.model.dropout == 0.0
    assert type(config.model.dropout) is type(config.training.learning_rate) is float


@pytest.mark.parametrize(("dataset", "budget"), [("demo", 0.2), ("subj", 0.5), ("reviews.csv", 0.5)])
def test_sizes_left_open_are_the_papers(dataset, budget):
    sizes = RunConfig.of(dataset=dataset, initial_size=30).sizes
    assert sizes == {"initial_size": Size(30), "query_size": Size(0.02), "budget": Size(budget)}


def test_options_are_plain_values_that_make_the_same_config_again():
    options = RunConfig.of(dataset="mr", seed=3, query_size="0.05", budget=700, lowercase=False).options()
    assert options["seed"] == 3
    assert options["dataset_split"] is None
    assert (options["initial_size"], options["query_size"], options["budget"]) == (0.02, 0.05, 700)
    assert all(value is None or isinstance(value, str | int | float) for value in options.values())
    assert RunConfig.of(**options).options() == options


def test_every_option_stands_in_one_topic_and_has_a_help_text():
    options = [option for topic in TOPICS for option in fields(topic)]
    names = [option.name for option in options]
    assert len(names) == len(set(names)) == len(RunConfig().options())
    assert all(option.metadata["help"].strip() for option in options)
    assert all(topic.__doc__ and topic._argument_group_name for topic in TOPICS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "tabular", "model": "cnn"}, "--model cnn reads texts, and --task is tabular; use --model mlp"),
        ({"model": "mlp"}, "--model mlp reads tables, and --task is text; use cnn or bilstm, or --task tabular"),
        (
            {"dataset": "news", "task": "text", "model": "cnn", "data_dir": "."},
            "--dataset news is a table, and --task is text; use --task tabular",
        ),
        ({"dataset": "news"}, "--dataset news needs --data-dir; it must be the folder that holds its file"),
        (
            {"drop_columns": "a"},
            "--drop-columns is for tables, and --task is text; leave it out or use --task tabular",
        ),
        (
            {"hashed_features": 32},
            "--hashed-features is for tables, and --task is text; leave it out or use --task tabular",
        ),
        (
            {"task": "tabular", "init_model": "runs/first"},
            "--init-model is for texts, and --task is tabular; leave it out",
        ),
        ({"task": "tabular", "max_length": 64}, "--max-length is for texts, and --task is tabular; leave it out"),
        ({"task": "tabular", "lowercase": False}, "--lowercase is for texts, and --task is tabular; leave it out"),
        ({"task": "tabular", "text_column": "a"}, "--text-column is for texts, and --task is tabular; leave it out"),
        (
            {"dataset": "people.csv", "task": "tabular", "data_dir": "."},
            "--data-dir is for the tables telescope, default, employee, news, not --dataset people.csv; leave it out",
        ),
        (
            {"model": "org/bert", "dropout": 0.3},
            "--model org/bert has dropout of its own, and --dropout is 0.3; leave it out",
        ),
        (
            {"strategy": "bald", "dropout": 0},
            "--strategy bald compares samples of the model's dropout, and --dropout is 0; it must be greater, such as "
            "0.5",
        ),
        (
            {"strategy": "bald", "bald_head_dropout": 0.3},
            "--bald-head-dropout is for encoders and decoders, and --model is cnn; use --dropout",
        ),
        (
            {"model": "linear", "strategy": "margin", "bald_head_dropout": 0.3},
            "--bald-head-dropout is for encoders and decoders, and --model is linear; leave it out",
        ),
        (
            {"model": "bilstm", "long_texts": "windows"},
            "--long-texts windows is for encoders and decoders, and --model is bilstm, which takes texts of any "
            "length; raise --max-length",
        ),
        (
            {"model": "linear", "strategy": "margin", "long_texts": "head-tail"},
            "--long-texts has no effect on --model linear; leave it out",
        ),
        (
            {"task": "tabular", "long_texts": "head-tail"},
            "--long-texts is for texts, and --task is tabular; leave it out",
        ),
        (
            {"task": "tabular", "strategy": "bald", "dropout": 0},
            "--strategy bald compares samples of the model's dropout, and --dropout is 0; it must be greater, such as "
            "0.05",
        ),
    ],
)
def test_what_does_not_go_together_is_one_error(options, message):
    with pytest.raises(ConfigError) as error:
        RunConfig.of_options(options)
    assert str(error.value) == message


def test_errors_of_the_python_api_speak_of_arguments():
    message = r"^model_revision is 'v1'; it must be left out: model cnn is no pretrained encoder$"
    with pytest.raises(ConfigError, match=message):
        RunConfig.of(model_revision="v1")
    with pytest.raises(ConfigError, match=r"^--model-revision is 'v1'; it must be left out: --model cnn is no"):
        RunConfig.of_options({"model_revision": "v1"})


def test_an_mlp_has_dropout_where_bald_asks():
    def dropout(**options):
        return RunConfig.of(task="tabular", **options).model.dropout

    assert dropout() == dropout(strategy="dami") == 0
    assert dropout(strategy="bald") == 0.05
    assert dropout(strategy="bald", dropout=0.3) == dropout(dropout=0.3) == 0.3
    assert RunConfig.of(task="tabular", strategy="bald").strategy.bald_samples == 100
    assert RunConfig.of(strategy="bald").model.dropout == 0.5


def test_what_texts_and_tables_alone_use_are_options_and_may_be_given_at_their_defaults():
    options = RunConfig().options()
    assert {*OF_TEXTS, *OF_TABLES} <= options.keys()
    RunConfig.of(task="tabular", **{name: options[name] for name in OF_TEXTS})
    RunConfig.of(task="text", **{name: options[name] for name in OF_TABLES})


def test_a_presets_name_implies_its_options_and_given_ones_win():
    options = RunConfig.of(dataset="employee", data_dir="d", hashed_features=32, learning_rate=0.1).options()
    assert (options["task"], options["model"], options["metric"]) == ("tabular", "mlp", "roc_auc")
    assert (options["label_column"], options["hashed_features"], options["learning_rate"]) == ("ACTION", 32, 0.1)
    assert len(options["categorical_columns"].split(",")) == 9
    assert RunConfig.of(**options).options() == options
    assert RunConfig.of(dataset="employee.csv").options()["task"] == "text"


def test_a_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        LoopConfig().seed = 1


@pytest.mark.parametrize(
    ("options", "vectors"),
    [
        ({"dataset": "subj"}, TRAINED_VECTORS),
        ({"dataset": "mr", "model": "bilstm"}, TRAINED_VECTORS),
        ({"dataset": "mr", "word_vectors": "auto"}, "auto"),
        ({"dataset": "subj", "model": "linear", "strategy": "margin"}, "auto"),  # it has no word vectors
        ({"dataset": "reviews.csv"}, "auto"),
        ({}, "auto"),
    ],
)
def test_the_papers_texts_start_from_word2vec(options, vectors):
    assert RunConfig.of(**options).word_vectors.word_vectors == vectors
