"""What stopping criteria cost, from hand-made records: against hand arithmetic."""

import csv
import json

import numpy as np
import pytest
from test_results import write_run

from dami_text.cli.report import make_report
from dami_text.simulation.results import read_runs
from dami_text.simulation.stopping_report import judged_runs, tradeoff


def write_judged(root, seed, scores, *, kappas, entropies, **options):
    """A run of 20 labels more for each score, that has recorded two criteria."""
    folder = write_run(root, "random", seed, scores, **options)
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    for line, kappa, entropy in zip(lines, kappas, entropies, strict=True):
        line["stopping"] = {
            "criteria": {
                "stable:0.99": {"value": kappa, "stops": kappa is not None and kappa >= 0.99},
                "uncertainty:0.1": {"value": entropy, "stops": entropy <= 0.1},
            }
        }
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two runs of 100 labels. Kappa ends the first with 40 and 4 points too early, and the second never."""
    write_judged(
        tmp_path,
        0,
        (0.6, 0.76, 0.78, 0.79, 0.80),
        kappas=(None, 0.995, 0.98, 0.99, 1),
        entropies=(0.4, 0.3, 0.2, 0.1, 0.05),
    )
    write_judged(
        tmp_path,
        1,
        (0.6, 0.7, 0.91, 0.9, 0.9),
        kappas=(None, 0.9, 0.95, 0.97, 0.98),
        entropies=(0.3, 0.2, 0.09, 0.2, 0.08),
    )
    return tmp_path


def test_the_first_round_that_stops_counts(runs):
    first, second = judged_runs(read_runs([runs]))
    assert first.ending(first.said["stable:0.99"]) == (True, 0.4, pytest.approx(0.04))
    assert second.ending(second.said["stable:0.99"]) == (False, 1.0, 0.0)
    assert second.ending(second.said["uncertainty:0.1"]) == (True, 0.6, pytest.approx(-0.01))
    assert first.ending_with(0.5) == (True, 0.6, pytest.approx(0.02)), "the first round with half of the labels or more"
    assert first.ending_with(0.2)[1] == 0.2


def test_the_report_says_what_each_criterion_spends_and_loses(runs):
    assert make_report([str(runs)]) == 0
    text = (runs / "report.md").read_text(encoding="utf-8")
    # stable: 40% and 100% of the labels, 4 points and 0; uncertainty: 80% and 60%, 1 point and -1.
    assert "| stable:0.99 | 2 | 50% | 70% | +2.00 | 50% |" in text
    assert "| uncertainty:0.1 | 2 | 100% | 70% | +0.00 | 0% |" in text, "a point is not more than a point"
    # Half: 60% of either, 2 points and -1.
    assert "| 50% of the labels | 2 | 100% | 60% | +0.50 | 50% |" in text
    assert "spent, lost" not in text, "there is one data set alone"
    with (runs / "figures" / "stopping.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 5
    assert rows[0] == {
        **{"criterion": "stable:0.99", "dataset": "reviews.csv", "model": "cnn", "strategy": "random", "seed": "0"},
        **{"stopped": "True", "labelled": "40", "spent": "0.4", "points lost": "4"},
    }
    assert (runs / "figures" / "stopping.png").read_bytes().startswith(b"\x89PNG")
    page = (runs / "report.html").read_text(encoding="utf-8")
    assert "<h2>When to stop</h2>" in page
    assert page.rstrip().endswith("</html>")
    assert page.count("data:image/svg+xml") == 2


def test_other_data_have_a_line_of_their_own(runs):
    write_judged(
        runs,
        0,
        (0.5, 0.5),
        kappas=(None, 1.0),
        entropies=(0.1, 0.1),
        name="other",
        dataset="b/mail.csv",
        metric="macro_f1",
    )
    assert make_report([str(runs)]) == 0
    text = (runs / "report.md").read_text(encoding="utf-8")
    assert "| reviews.csv, cnn | 70%, +2.00 | 70%, +0.00 |" in text
    assert "| mail.csv, cnn | 100%, +0.00 | 50%, +0.00 |" in text


def test_other_thresholds_are_judged_by_the_recorded_values(runs):
    found = tradeoff(judged_runs(read_runs([runs])), "stable:0.99")
    # At 0.9 both end with 40 labels: 4 points lost, and 20. At 0.95 the second ends with 60: -1 point.
    assert [pytest.approx(each) for each in ([0.4, 12.0], [0.5, 1.5])] == found[:2].tolist()
    assert found[-1].tolist() == [1.0, 0.0], "at 1 the first run ends where it would anyway"
    entropies = tradeoff(judged_runs(read_runs([runs])), "uncertainty:0.1")
    assert entropies[0].tolist() == pytest.approx([0.2, 25.0]), "0.4 ends both at once"
    assert np.all(np.diff(entropies[:, 0]) >= 0)


def test_runs_without_criteria_or_ended_by_one_are_left_out(runs):
    write_run(runs, "margin", 0)
    write_run(runs, "dami", 0, finished=False)
    folder = write_judged(runs, 2, (0.5, 0.6), kappas=(None, 1.0), entropies=(0.3, 0.3))
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    lines[-1]["stopped"] = {"criterion": "stable:0.99", "value": 1.0}
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [judged.run.seed for judged in judged_runs(read_runs([runs]))] == [0, 1]


def test_a_report_on_runs_without_criteria_has_no_such_section(tmp_path):
    write_run(tmp_path)
    assert make_report([str(tmp_path)]) == 0
    assert "When to stop" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "figures" / "stopping.csv").exists()
