"""Runs that a criterion ends, and runs that record what the criteria say: against the criteria asked by hand."""

import json
import signal

import numpy as np
import pytest
from test_run import content, die_in_append, die_in_training, run_apart

from dami_text.cli.run import run_al
from dami_text.config.run import RunConfig
from dami_text.config.stopping import parse_stop
from dami_text.errors import ConfigError
from dami_text.learning.stopping import EstimatedRecall, Evidence, kappa
from dami_text.models.inference import predict_probabilities
from dami_text.simulation.run import Run, is_finished

OPTIONS = {"model": "linear", "strategy": "margin", "initial_size": 4, "query_size": 4, "budget": 40}
DEFAULTS = {"stable:0.99", "change:0", "uncertainty:0.1", "max-uncertainty:0.1", "gain:0.5", "recall:0.95"}


def command(reviews, output_dir, **options):
    options = {"dataset": reviews, "output_dir": output_dir, **OPTIONS, **options}
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


def run_of(reviews, path, **options):
    return Run(RunConfig.of(dataset=str(reviews), **{**OPTIONS, **options}), path, save_model=False)


def lines_of(path):
    return [json.loads(line) for line in (path / "rounds.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def reported(reviews, tmp_path_factory):
    """A finished run that has recorded the criteria, with the stop set and each round's predictions of it by hand."""
    path = tmp_path_factory.mktemp("reported") / "run"
    run = run_of(reviews, path, stop_report=True)
    predicted = []
    for _ in run.rounds():
        model, rows = run.learner.trained_model(), run._stopping.rows
        predicted.append(predict_probabilities(model, run.learner.pool.texts, rows))
    return path, run, predicted


def said(line, name):
    return line["stopping"]["criteria"][name]


def test_each_round_says_what_each_criterion_says(reported):
    path, run, predicted = reported
    rounds = lines_of(path)
    assert [line["n_labeled"] for line in rounds] == list(range(4, 41, 4)), "the run goes on"
    assert all(line["stopping"]["criteria"].keys() == DEFAULTS for line in rounds)
    assert "stopped" not in rounds[-1]
    queries = [json.loads(line) for line in (path / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    start = {line["row"] for line in queries if line["round"] == -1}
    assert set(run._stopping.rows.tolist()) == set(range(run.n)) - start
    classes = [each.argmax(axis=1) for each in predicted]
    for r, line in enumerate(rounds):
        labeled = [query["row"] for query in queries if query["round"] < r]
        left = ~np.isin(run._stopping.rows, labeled)
        p = predicted[r][left].astype(float)
        entropies = -(p * np.log2(p)).sum(axis=1)
        assert said(line, "uncertainty:0.1")["value"] == pytest.approx(entropies.mean())
        assert said(line, "max-uncertainty:0.1")["value"] == pytest.approx(entropies.max())
        if r:
            changed = (classes[r] != classes[r - 1])[left].mean()
            assert said(line, "change:0") == {"value": changed, "stops": changed == 0}
        if r >= 3:
            mean = np.mean([kappa(classes[i - 1], classes[i]) for i in range(r - 2, r + 1)])
            assert said(line, "stable:0.99") == {"value": pytest.approx(mean), "stops": bool(mean >= 0.99)}
        labels = [("neg", "pos").index(query["label"]) for query in queries if query["round"] < r]
        now = Evidence(n_labeled=len(labels), predictions=classes[r], labels=np.array(labels), n_texts=run.n)
        assert said(line, "recall:0.95")["value"] == EstimatedRecall().value([now])
    assert said(rounds[0], "change:0") == said(rounds[2], "stable:0.99") == {"value": None, "stops": False}


def test_a_run_ends_where_the_report_says_and_is_finished_then(reported, reviews, tmp_path, capsys):
    rounds = lines_of(reported[0])
    value = said(rounds[4], "stable:0.99")["value"]
    first = next(r for r, line in enumerate(rounds) if (said(line, "stable:0.99")["value"] or 0) >= value)
    arguments = command(reviews, tmp_path / "run", stop=f"stable:{value}")
    assert run_al(arguments) == 0
    printed = capsys.readouterr().out
    ended = lines_of(tmp_path / "run")
    assert len(ended) == first + 1 < len(rounds)
    assert ended[-1]["query"] is None
    assert ended[-1]["stopped"] == {
        "criterion": f"stable:{value}",
        "value": said(rounds[first], "stable:0.99")["value"],
    }
    assert [line["metrics"] for line in ended] == [line["metrics"] for line in rounds[: first + 1]]
    assert f"stopped  by stable:{value}: mean kappa of successive models" in printed
    before = content(tmp_path / "run")
    assert run_al(arguments) == 0
    assert content(tmp_path / "run") == before
    assert f"stopped  by stable:{value}" in capsys.readouterr().out
    again = run_of(reviews, tmp_path / "run", stop=f"stable:{value}")
    assert is_finished(again.folder)
    assert list(again.rounds()) == []


def test_a_larger_budget_does_not_make_a_stopped_run_go_on(reviews, tmp_path):
    few = list(run_of(reviews, tmp_path / "run", stop="budget:12").rounds())
    more = run_of(reviews, tmp_path / "run", stop="budget:12", budget=80)
    list(more.rounds())
    assert (
        [line["n_labeled"] for line in lines_of(tmp_path / "run")] == [line["n_labeled"] for line in few] == [4, 8, 12]
    )
    assert is_finished(run_of(reviews, tmp_path / "run", stop="budget:12", budget=80).folder)


def test_a_criterion_that_says_so_in_the_last_round_has_ended_nothing(reviews, tmp_path):
    list(run_of(reviews, tmp_path / "run", stop="budget:40").rounds())
    last = lines_of(tmp_path / "run")[-1]
    assert said(last, "budget:40")["stops"]
    assert "stopped" not in last


def test_a_run_that_is_interrupted_in_each_round_records_the_same(reported, reviews, tmp_path):
    for _ in range(10):
        next(iter(run_of(reviews, tmp_path / "run", stop_report=True).rounds()))
    expected, found = content(reported[0]), content(tmp_path / "run")
    assert found.pop("learning_curve.png", b"") in (b"", expected.pop("learning_curve.png"))
    assert found == expected


def test_a_killed_run_stops_where_one_that_was_not_killed_does(reviews, tmp_path):
    arguments = command(reviews, tmp_path / "killed", stop="budget:16", stop_report=True)

    for moment in [
        (die_in_training, 2),
        (die_in_append, "rounds.jsonl", 2, 0.5),
        (die_in_append, "queries.jsonl", 3, 1),
    ]:
        assert run_apart(arguments, moment) == -signal.SIGKILL
    assert run_apart(arguments) == 0
    assert run_al(command(reviews, tmp_path / "whole", stop="budget:16", stop_report=True)) == 0
    killed, whole = (content(tmp_path / name) for name in ("killed", "whole"))
    for name in ("rounds.jsonl", "queries.jsonl", "config.yaml", "learning_curve.png"):
        assert killed[name] == whole[name]


def test_the_stop_set_is_of_2000_texts_at_most_and_the_seed_draws_it(reviews, tmp_path, monkeypatch):
    monkeypatch.setattr("dami_text.simulation.stopping.STOP_SET", 50)
    rows = [run_of(reviews, tmp_path / f"{seed}", stop="stable", seed=seed)._stopping.rows for seed in (0, 0, 1)]
    assert [len(each) for each in rows] == [50, 50, 50]
    assert rows[0].tolist() == rows[1].tolist() != rows[2].tolist()


def test_without_a_validation_split_there_is_no_gain(reviews, tmp_path):
    with pytest.raises(ConfigError, match="there is no validation split; use --validation split"):
        run_of(reviews, tmp_path / "run", stop="gain", validation="none")
    run = run_of(reviews, tmp_path / "run", stop_report=True, validation="none")
    assert run._stopping.criteria.keys() == DEFAULTS - {"gain:0.5"}


def test_recall_is_of_the_positive_class(reviews, tmp_path):
    run = run_of(reviews, tmp_path / "run", stop="recall", positive_class="pos")
    (criterion,) = run._stopping.criteria.values()
    assert criterion == EstimatedRecall(label=1)
    with pytest.raises(ConfigError, match="--positive-class is 'odd'; it must be one of the classes 'neg', 'pos'"):
        run_of(reviews, tmp_path / "run", stop="recall", positive_class="odd")


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [
        ("kappa", "must be one of stable, change, uncertainty, max-uncertainty, gain, recall, budget, or one of"),
        ("", "must be one of stable"),
        ("stable:1.2", "the value of stable must be a mean kappa greater than 0 and at most 1"),
        ("stable:", "the value of stable must be"),
        ("stable:nan", "the value of stable must be"),
        ("change:1", "the value of change must be a share"),
        ("uncertainty:0", "the value of uncertainty must be a mean entropy"),
        ("gain:-1", "the value of gain must be points"),
        ("recall:95", "the value of recall must be a share"),
        ("budget", "the value of budget must be a number of labels, as in budget:200"),
        ("budget:0.5", "the value of budget must be a number of labels"),
    ],
)
def test_a_stop_that_cannot_be_is_one_clear_line(reviews, tmp_path, capsys, stop, wanted):
    assert run_al(command(reviews, tmp_path / "run", stop=stop)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --stop is {stop!r}; ")
    assert wanted in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_name_alone_has_the_default_value():
    assert parse_stop("stable") == parse_stop("stable:0.99") == ("stable", 0.99)
    assert parse_stop("recall:1") == ("recall", 1)
