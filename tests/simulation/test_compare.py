"""Strategies compared in Python: the runs and the sentences of the command line, without its output."""

import datasets
import pandas as pd
import pytest
import torch

from dami_text import compare
from dami_text.cli.grid import run_grid
from dami_text.errors import ConfigError, DataTypeError, RecordError
from dami_text.simulation import grid
from dami_text.simulation.results import read_runs

SIZES = {"initial_size": 6, "query_size": 6, "budget": 18, "model": "linear"}


def flags(options):
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_the_runs_are_those_of_the_command_line_and_are_resumed(reviews, tmp_path, capfd, monkeypatch):
    threads, hidden = torch.get_num_threads(), datasets.are_progress_bars_disabled()
    found = compare(reviews, ["margin", "random"], seeds=2, output_dir=tmp_path / "here", quiet=True, **SIZES)
    assert (torch.get_num_threads(), datasets.are_progress_bars_disabled()) == (threads, hidden)
    assert capfd.readouterr() == ("", "")
    given = ["--dataset", str(reviews), "--strategies", "margin", "random", "--seeds", "0-1", *flags(SIZES)]
    assert run_grid([*given, "--no-save-models", "--output-dir", str(tmp_path / "there")]) == 0
    here, there = ({run.identity: run.results for run in read_runs([tmp_path / name])} for name in ("here", "there"))
    assert here == there
    table = found.to_pandas()
    assert table.columns.tolist() == ["strategy", "seed", "n_labeled", "share", "accuracy"]
    (run,) = [run for run in read_runs([tmp_path / "here"]) if run.seed == 1 and run.options["strategy"] == "margin"]
    mine = table[(table["strategy"] == "margin") & (table["seed"] == 1)]
    assert mine["accuracy"].tolist() == [line["metrics"]["accuracy"] for line in run.rounds]
    assert mine["n_labeled"].tolist() == [6, 12, 18]

    monkeypatch.setattr(grid, "run_cell", lambda *_: pytest.fail("it is finished"))
    again = compare(reviews, ["margin", "random"], seeds=[1, 0], output_dir=tmp_path / "here", quiet=True, **SIZES)
    assert str(again) == str(found)
    assert "points against random" in str(found)
    assert found.write_report(tmp_path / "report").is_file()
    assert found._repr_html_().count("<img") == 1
    assert len(found.plot().axes[0].lines) == 2


def test_a_data_frame_is_compared_and_a_failure_is_told(tmp_path):
    texts = [f"a {word} film {i}" for i in range(30) for word in ("dull", "lively")]
    frame = pd.DataFrame({"body": texts, "y": ["neg", "pos"] * 30})
    columns = {"text_column": "body", "label_column": "y"}
    found = compare(frame, ["entropy", "dami"], seeds=1, output_dir=tmp_path, quiet=True, **columns, **SIZES)
    assert set(found.to_pandas()["strategy"]) == {"entropy"}
    assert len(found.failed) == 1
    assert "strategy dami needs gradients" in str(found)
    with pytest.raises(RecordError, match=r"no run came to its end; the first: .*strategy dami needs"):
        compare(frame, ["dami"], seeds=1, output_dir=tmp_path, quiet=True, **columns, **SIZES)


def test_what_cannot_work_is_refused_before_anything_runs(reviews, tmp_path):
    for options, message in [
        ({"strategies": ["bagde"]}, "strategy is 'bagde'; it must be one of"),
        ({"seeds": 0}, "seeds"),
        ({"seed": 3}, "seed is one of several here; give strategies and seeds"),
        ({"stepz": 3}, "unknown options"),
    ]:
        with pytest.raises(ConfigError, match=message):
            compare(reviews, **{"output_dir": tmp_path, "quiet": True, **options})
    with pytest.raises(DataTypeError, match="dataset is 3; it must be a name, a path, a data frame or a Dataset"):
        compare(3, output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
