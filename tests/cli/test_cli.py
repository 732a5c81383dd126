import re
import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from dami_text.cli import run as cli
from dami_text.cli.run import default_output_dir, parse, run_al, run_parser, table
from dami_text.config.fields import Size
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, RecordError
from dami_text.models.scores import ClassReport

FAST = (
    *("--word-vectors", "random", "--word-vector-dim", "4", "--epochs", "1", "--epoch-steps", "1"),
    *("--initial-size", "10", "--query-size", "5", "--budget", "20"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch, reviews):
    """The current folder: empty but for reviews.csv of 300 rows, of which 210 are the training set."""
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_bytes(reviews.read_bytes())
    return tmp_path


def options_of(*arguments):
    return parse(arguments)[0].options()


# Options --------------------------------------------------------------------------------------------------------


def test_without_arguments_the_defaults_hold():
    config, output = parse([])
    assert config == RunConfig()
    assert (output.output_dir, output.overwrite) == (None, False)


def test_flags_set_options_of_every_topic():
    command = (
        "--dataset subj --no-lowercase --word-vector-dim 16 --model bilstm --learning-rate 2e-3 --strategy random "
        "--seed 7 --query-size 0.05 --budget 700 --output-dir out --overwrite"
    )
    config, output = parse(shlex.split(command))
    assert config == RunConfig.of(
        dataset="subj",
        lowercase=False,
        word_vector_dim=16,
        model="bilstm",
        learning_rate=0.002,
        strategy="random",
        seed=7,
        query_size=0.05,
        budget=700,
    )
    assert (output.output_dir, output.overwrite) == ("out", True)


def test_flags_may_have_underscores():
    assert options_of("--query_size", "3", "--no_lowercase") == options_of("--query-size", "3", "--no-lowercase")
    assert options_of("--query_size", "3", "--no_lowercase")["query_size"] == 3


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("false", False), ("no", False), (None, True)])
def test_a_boolean_flag_takes_a_value_or_none(value, wanted):
    arguments = ["--distributed-training"] if value is None else ["--distributed-training", value]
    assert options_of(*arguments)["distributed_training"] is wanted


def test_a_file_sets_options_and_flags_override_it(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("seed: 3\nquery-size: 0.1\nword_vector_dim: 16\nlowercase: false\nlearning-rate: 1e-2\n")
    config, _ = parse(["--config", str(file), "--seed", "5"])
    wanted = {"seed": 5, "query_size": Size(0.1), "word_vector_dim": 16, "lowercase": False, "learning_rate": 0.01}
    assert config == RunConfig.of(**wanted)
    assert options_of("--config", str(file), "--lowercase", "true")["lowercase"] is True


def test_a_file_can_set_where_the_run_goes_but_no_further_file(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("output-dir: elsewhere\noverwrite: true\n")
    output = parse(["--config", str(file)])[1]
    assert (output.output_dir, output.overwrite) == ("elsewhere", True)
    file.write_text("config: other.yaml\n")
    with pytest.raises(ConfigError, match=r"unknown options \['config'\]"):
        parse(["--config", str(file)])


def test_nothing_but_comments_in_a_file_is_no_option(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("# seed: 3\n")
    assert options_of("--config", str(file)) == RunConfig().options()


def test_yamls_bare_no_is_a_precision(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("mixed_precision: no\n")
    assert options_of("--config", str(file))["mixed_precision"] == "no"


def test_a_runs_options_written_as_yaml_give_the_same_options_again(tmp_path):
    config = RunConfig.of(dataset="mr", budget=300, learning_rate=1e-5, mixed_precision="no", seed=11, lowercase=False)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.options()))
    again, _ = parse(["--config", str(file)])
    assert again.options() == config.options()
    assert all(type(again.options()[name]) is type(value) for name, value in config.options().items())


# Help -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def help_entries():
    """From each flag that --help lists to its text, white space made single."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        text = run_parser("run_al.py").format_help()
    entries = re.findall(r"^  (?:-h, )?(--[\w-]+)(.*(?:\n {10}.*)*)", text.split("\noptions:\n")[1], re.MULTILINE)
    return [(flag, " ".join(rest.split())) for flag, rest in entries]


def test_help_lists_each_flag_once(help_entries):
    names = {*RunConfig().options(), "output_dir", "overwrite", "config", "debug", "help", "no_lowercase"}
    names |= {"report_to", "push_to_hub", "push_dataset", "private", "export_code", "export_merged"}
    assert sorted(flag for flag, _ in help_entries) == sorted("--" + name.replace("_", "-") for name in names)


def test_help_explains_every_flag_and_shows_only_defaults_that_say_something(help_entries):
    entries = dict(help_entries)
    explanations = {
        flag: re.sub(r"^(N|X|SIZE|VALUE( \[VALUE \.\.\.\])?|\[true\|false\]|\{.*?\}) ?", "", text)
        for flag, text in entries.items()
    }
    assert all(re.match(r"[\w%]", text) for text in explanations.values())
    assert not [flag for flag, text in entries.items() if "None" in text or "SUPPRESS" in text]
    assert entries["--seed"] == "N seed of everything that is random (default: 0)"
    assert entries["--weight-decay"] == "X the optimizer's weight decay; for an encoder 0.01 (default: 0.0)"
    assert entries["--lowercase"] == "[true|false] lower-case the texts (default: true)"
    assert entries["--no-lowercase"] == "do not lower-case the texts"
    assert entries["--overwrite"] == "[true|false] replace a run that the folder holds"
    assert "(default: 0.02)" in entries["--query-size"]
    assert entries["--query-size"].startswith("SIZE ")
    assert entries["--splits"].startswith("{resplit,stratified,keep} ")


def test_help_ends_with_status_0(capsys):
    with pytest.raises(SystemExit) as end:
        run_al(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: run_al.py ")


# Errors ---------------------------------------------------------------------------------------------------------

NO_LABEL = (
    "no label in column 'label' of 12 rows (null, -1 and empty are no labels); wanted two classes or more: label rows "
    "of each, or name another column with --label-column"
)
ONE_CLASS = NO_LABEL.replace("no label in", "only one class, 'pos', in")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--foo"], "unrecognized arguments: --foo; run_al.py --help lists the options"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3; run_al.py --help lists the options"),
        (["demo"], "unrecognized arguments: demo; run_al.py --help lists the options"),
        (["--epochs"], "argument --epochs: expected one argument; run_al.py --help lists the options"),
        (["--epochs", "abc"], "--epochs is 'abc'; it must be an integer"),
        (["--epochs", "0"], "--epochs is 0; it must be at least 1"),
        (
            ["--model", "svm"],
            "--model 'svm' is no folder here, and the Hub is switched off by HF_HUB_OFFLINE (unset it to connect), and "
            "the cache has no copy; give a local folder",
        ),
        (["--lowercase", "maybe"], "--lowercase is 'maybe'; it must be true or false"),
        (["--query-size", "abc"], "--query-size is 'abc'; it must be a count such as 50 or a share such as 0.02"),
        (
            ["--query-size", "0"],
            "--query-size is 0; it must be in (0, 1] as a share of the training set, or a count of at least 1",
        ),
        (
            ["--query-size", "-3"],
            "--query-size is -3; it must be in (0, 1] as a share of the training set, or a count of at least 1",
        ),
        (
            [*FAST, "--budget", "211"],
            "--budget is 211, but the training set has 210 texts; lower it to at most 210",
        ),
        (
            [*FAST, "--query-size", "0.001"],
            "--query-size 0.001 is 0.21 of 210 texts; it must be from 1 to the 200 that are unlabelled after the start",
        ),
        (
            [*FAST, "--initial-size", "21"],
            "--initial-size 21 is 21 of 210 texts; it must be from 1 to the budget, which is 20",
        ),
        (
            [*FAST, "--word-vectors", "x.vec"],
            "--word-vectors is 'x.vec'; it must be auto, word2vec, ppmi, random or an existing file",
        ),
        (["--label-column", "class"], "no column 'class' in ['text', 'label']; name it with --label-column"),
        (["--text-column", "body"], "no column 'body' in ['text', 'label']; name it with --text-column"),
        (
            ["--dataset-split", "dev"],
            "no split 'dev' in ['train'] of 'reviews.csv'; choose one with --dataset-split",
        ),
        (["--dataset", "few.csv"], "5 labelled rows are too few to split; wanted at least 10"),
        (["--dataset", "one_class.csv"], ONE_CLASS),
        (["--dataset", "no_label.csv"], NO_LABEL),
        (["--dataset", "minus_one.csv"], NO_LABEL),
        (
            ["--dataset", "somewhere"],
            "'somewhere' is no file or folder here, and the Hub is switched off by HF_HUB_OFFLINE (Couldn't find cache "
            "for somewhere); unset it, or give the path of a local copy",
        ),
        (
            ["--dataset", "\x1b[31mred\u202e.csv"],
            r"'\x1b[31mred\u202e.csv' is no file or folder here, and no Hub id; check the spelling",
        ),
        (
            ["--config", "missing.yaml"],
            "cannot read --config missing.yaml: [Errno 2] No such file or directory: 'missing.yaml'; it must be a YAML "
            "file of options",
        ),
        (
            ["--config", "list.yaml"],
            "--config list.yaml holds list; it must be a mapping, such as 'seed: 3'",
        ),
        (
            ["--config", "unknown.yaml"],
            "--config unknown.yaml holds unknown options ['sed']; run_al.py --help lists them",
        ),
        (["--config", "wrong.yaml"], "--epochs is 2.5; it must be an integer"),
        (["--model", "mlp"], "--model mlp reads tables, and --task is text; use cnn or bilstm, or --task tabular"),
        (["--dataset", "news"], "--dataset news needs --data-dir; it must be the folder that holds its file"),
        (
            ["--dataset", "news", "--data-dir", "."],
            "no file online_news_popularity_union.csv.gz in --data-dir .; give the folder that has it",
        ),
        (
            ["--task", "tabular", "--drop-columns", "body"],
            "no columns ['body'] in ['text', 'label']; correct --drop-columns",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(folder, capsys, arguments, line):
    rows = Path("reviews.csv").read_text().splitlines()
    contents = {
        "few.csv": rows[:6],
        "one_class.csv": [rows[0], *[row for row in rows if row.endswith("pos")][:12]],
        "no_label.csv": [rows[0], *(f"text {i}," for i in range(12))],
        "minus_one.csv": [rows[0], *(f"text {i},-1" for i in range(12))],
        "list.yaml": ["- seed"],
        "unknown.yaml": ["sed: 3", "epochs: 2"],
        "wrong.yaml": ["epochs: 2.5"],
    }
    for name, lines in contents.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    before = sorted(folder.iterdir())

    assert run_al(["--dataset", "reviews.csv", "--output-dir", "out", *arguments]) == 1
    assert capsys.readouterr() == ("", f"error: {line}\n")
    assert sorted(folder.iterdir()) == before


def test_a_broken_yaml_file_is_one_line(folder, capsys):
    Path("broken.yaml").write_text("seed: [1\nepochs: 2\n")
    assert run_al(["--config", "broken.yaml"]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"error: cannot read --config broken\.yaml: while parsing .* it must be a YAML file .*\n", error
    )
    assert "\\n" not in error


def test_weights_that_are_not_finite_are_an_error_and_leave_nothing_behind(folder, capsys):
    arguments = [
        "--dataset",
        "reviews.csv",
        "--output-dir",
        "out",
        *FAST,
        "--epoch-steps",
        "3",
        "--learning-rate",
        "1e30",
    ]
    assert run_al(arguments) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last == (
        "error: after 3 training steps the model's weights or outputs are not finite; lower --learning-rate "
        "(it is 1e+30) or use --mixed-precision no"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize("output_dir", ["reviews.csv", "reviews.csv/below"])
def test_a_file_in_place_of_the_output_folder_is_an_error(folder, capsys, output_dir):
    assert run_al(["--dataset", "reviews.csv", "--output-dir", output_dir]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot write to the output folder {output_dir}: {'' if output_dir == 'reviews.csv' else f'{folder}/'}"
        "reviews.csv is not a folder that may be written to (Not a directory); choose another with --output-dir\n"
    )


def test_a_folder_that_cannot_be_written_is_an_error(folder, capsys, monkeypatch):
    def refuse(dir):  # noqa: A002 - tempfile's word
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert run_al(["--dataset", "reviews.csv", "--output-dir", "out"]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot write to the output folder out: {folder} is not a folder that may be written to (Permission "
        "denied); choose another with --output-dir\n"
    )


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ConfigError, match="--epochs is 0"):
        run_al(["--debug", "--epochs", "0"])
    file = tmp_path / "debug.yaml"
    file.write_text("debug: true\n")
    with pytest.raises(RecordError, match="cannot write"):
        run_al(["--config", str(file), "--output-dir", str(file)])


def test_other_processes_of_a_machine_leave_the_error_to_the_first(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run_al(["--epochs", "0"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("without", ["", " without --overwrite"])
def test_a_run_that_is_stopped_says_how_to_go_on(capsys, monkeypatch, without):
    def stop(config, output):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "simulate_run", stop)
    assert run_al(without.split()[1:]) == 130
    assert capsys.readouterr().err == f"stopped; the same command{without} goes on after the last finished round\n"


# Output ---------------------------------------------------------------------------------------------------------


def test_the_table_has_share_accuracy_and_seconds_of_each_round():
    first = {"n_labeled": 56, "labeled_fraction": 0.02, "metrics": {"accuracy": 0.8125, "macro_f1": 0.75}}
    first["test"] = asdict(
        ClassReport(accuracy=0.8125, macro_f1=0.75, largest="a", largest_share=0.625, never_predicted=[])
    )
    second = {"n_labeled": 1400, "labeled_fraction": 0.5, "metrics": {"accuracy": 1.0}}
    rounds = [
        first | {"seconds": {"train": 1.5, "evaluate": 0.5, "query": 1.5}},
        second | {"seconds": {"train": 1000.0, "evaluate": 0.0, "query": 0.0}},
    ]
    assert table(rounds).splitlines() == [
        "labelled   share  accuracy  macro F1  largest class  seconds",
        "      56    2.0%    0.8125    0.7500         0.6250      3.5",
        "    1400   50.0%    1.0000         -              -   1000.0",
    ]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "demo-cnn-dami-seed0"),
        (
            {"dataset": "SetFit/subj", "model": "bilstm", "strategy": "random", "seed": 2},
            "SetFit-subj-bilstm-random-seed2",
        ),
        ({"dataset": "../my data/réviews.csv"}, "my-data-r-views.csv-cnn-dami-seed0"),
        ({"dataset": "..."}, "data-cnn-dami-seed0"),
    ],
)
def test_the_default_folder_is_named_by_the_options(options, name):
    assert default_output_dir(RunConfig.of(**options)) == Path("runs") / name


def test_a_presets_options_stand_below_those_of_a_file_and_of_flags(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("dataset: telescope\nlearning_rate: 0.25\ntrain_batch_size: 7\n")
    config, _ = parse(["--config", str(file), "--data-dir", "d", "--train-batch-size", "9"])
    assert (config.data.task, config.data.label_column, config.model.model) == ("tabular", "target", "mlp")
    assert (config.training.learning_rate, config.training.train_batch_size) == (0.25, 9)
    assert (
        config.training
        == RunConfig.of(dataset="telescope", data_dir="d", learning_rate=0.25, train_batch_size=9).training
    )
