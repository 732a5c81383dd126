"""Trackers: what they are told, read back by TensorBoard itself, and what is missing."""

import json

import pytest

from dami_text.cli import run as cli
from dami_text.errors import ConfigError
from dami_text.simulation.tracking import check_trackers


def test_tensorboard_has_every_round(reviews, tmp_path):
    pytest.importorskip("tensorboard", reason="pip install 'dami_text[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = ["--initial-size", "10", "--query-size", "5", "--budget", "20", "--epochs", "1", "--epoch-steps", "1"]
    vectors = ["--word-vectors", "random", "--word-vector-dim", "4"]
    command = ["--dataset", str(reviews), *sizes, *vectors, "--output-dir", str(tmp_path / "run")]
    assert cli.run_al([*command, "--report-to", "tensorboard"]) == 0
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "run" / "tracking" / "run"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("test/accuracy")}
    assert found == pytest.approx({line["n_labeled"]: line["metrics"]["accuracy"] for line in rounds})
    assert [event.step for event in events.Scalars("validation/accuracy")] == [10, 15, 20]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(ConfigError, match=f"--report-to {name} is not installed; install it with `pip install {name}`"):
        check_trackers(name)
    assert cli.run_al(["--report-to", name, "--output-dir", str(tmp_path / "run")]) == 1
    assert (
        capsys.readouterr().err == f"error: --report-to {name} is not installed; install it with `pip install {name}`\n"
    )
    assert not (tmp_path / "run").exists()


def test_the_package_of_a_tracker_that_is_named_otherwise(monkeypatch):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(ConfigError, match="pip install comet-ml"):
        check_trackers("comet_ml")


def test_names_that_are_none():
    assert check_trackers(None) == []
    with pytest.raises(ConfigError, match=r"--report-to is 'tb'; it must be one of aim, .*tensorboard.*, or several"):
        check_trackers("tb")
