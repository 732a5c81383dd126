"""The report's part on a rare class, from hand-made records."""

import csv
import json
import re

import numpy as np
import pytest
from test_results import write_run

from dami_text.cli.report import make_report
from dami_text.simulation.by_class import class_score, found_of
from dami_text.simulation.comparison import LearningCurve
from dami_text.simulation.rare import labels_to_find
from dami_text.simulation.results import compare, read_runs


def line_of(found=3, right=2, predicted=4, precision=0.625):
    """A round's line: 3 of 10 texts of the class "spam" are labelled; the test split has 5."""
    return {
        "class_counts": {"ham": 20 - found, "spam": found},
        "by_class": {
            "pool": [190, 10],
            "present": [45, 5],
            "predicted": [50 - predicted, predicted],
            "right": [45 - predicted + right, right],
            "average_precision": [0.9, precision],
        },
    }


def write_class_run(root, strategy, seed, found, **options):
    """A run that has found so many of 10 spam texts in each round, and predicts as many right as it found."""
    folder = write_run(root, strategy, seed, (0.5,) * len(found), **options)
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    for line, n in zip(lines, found, strict=True):
        line.update(line_of(n, right=min(n, 5), predicted=5, precision=n / 10))
        line["class_counts"] = {"ham": line["n_labeled"] - n, "spam": n}
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_scores_of_a_class_by_hand():
    line = line_of()
    expected = {"precision": 2 / 4, "recall": 2 / 5, "f1": 4 / 9, "average_precision": 0.625}
    for name, value in expected.items():
        assert class_score(line, f"{name}:spam") == class_score(line, name) == pytest.approx(value)
    assert class_score(line, "recall:ham") == pytest.approx(43 / 45)
    assert class_score(line, "average_precision:ham") == 0.9
    assert class_score(line_of(right=0, predicted=0), "precision:spam") == 0
    for unknown in ("recall:eggs", "accuracy", "macro_f1"):
        assert class_score(line, unknown) is None
    assert class_score({"class_counts": {"ham": 1, "spam": 1}}, "recall:spam") is None
    assert found_of(line, "spam") == (3, 10)
    assert found_of(line, "ham") == (17, 190)
    assert found_of(line, "eggs") is found_of({}, "spam") is None


def test_a_bare_metric_of_more_than_two_classes_is_of_none():
    line = {"class_counts": {"a": 1, "b": 1, "c": 1}, "by_class": {"average_precision": [0.1, 0.2, 0.3]}}
    assert class_score(line, "average_precision") is None
    assert class_score(line, "average_precision:b") == 0.2


def test_labels_needed_are_linear_between_rounds():
    curve = LearningCurve(
        dataset="d",
        model="m",
        strategy="s",
        seeds=(0, 1, 2),
        n_labeled=np.array([20, 40, 60]),
        share=np.array([0.1, 0.2, 0.3]),
        scores=np.array([[0.1, 0.3, 0.7], [0.5, 0.6, 0.9], [0.0, 0.1, 0.4]]),
    )
    # Seed 0: half of the way from 40 to 60; seed 1 begins with half; seed 2 never has it.
    assert labels_to_find(curve, 0.5) == [50, 20, np.inf]
    assert labels_to_find(curve, 0.3) == [40, 20, pytest.approx(40 + 20 * 2 / 3)]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A report on two strategies of three seeds each, whose runs made the class spam rare."""
    path = tmp_path_factory.mktemp("rare")
    for seed in range(3):
        write_class_run(path, "random", seed, (0, 1, 2 + seed % 2), rarefy="spam=0.05")
        write_class_run(path, "margin", seed, (0, 4 + seed, 9), rarefy="spam=0.05")
    assert make_report([str(path)]) == 0
    return path


def test_the_report_says_how_many_were_found(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert "### The class 'spam'" in text
    assert "The pool has 10 texts of the class." in text
    header = "| strategy | found with 20 labels | found with 40 labels | found with 60 labels | labels to find 50% |"
    assert header in text
    # Margin has 4, 5 and 6 with 40 labels: a mean of 5 and half an interval of 4.303 / sqrt(3). Half of 10 is found
    # with 20 + 20 * 5 / 6 or 40, or 40 + 20 * 1 / 5.
    half = 4.302653 / 3**0.5
    needed = np.array([44, 40, 20 + 20 * 5 / 6])
    spread = 4.302653 * needed.std(ddof=1) / 3**0.5
    row = next(line for line in text.splitlines() if line.startswith("| margin | 0.0 (0.0 to 0.0) |"))
    assert f"| 5.0 ({5 - half:.1f} to {5 + half:.1f}) | 9.0 (9.0 to 9.0) |" in row
    mean = needed.mean()
    assert f"| {mean:.0f} ({mean - spread:.0f} to {mean + spread:.0f}) |" in row
    assert row.endswith("| more than 60 |"), "nobody finds 95%"
    random = next(line for line in text.splitlines() if line.startswith("| random | 0.0 (0.0 to 0.0) |"))
    assert random.endswith("| more than 60 | more than 60 | more than 60 |")


def test_seeds_that_never_find_a_share_are_told_of(tmp_path):
    for seed in range(3):
        write_class_run(tmp_path, "margin", seed, (0, 2, 4 + seed))
    assert make_report([str(tmp_path), "--positive-class", "spam"]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    # 2 to 5 of 10 in 20 labels, and 2 to 6: half is there with 60, or with 40 + 20 * 3 / 4.
    assert "more than 60; 2 of 3 seeds need 55 to 60" in text
    assert "differences" not in text.split("### The class")[1].split("### Seconds")[0]


def test_the_report_says_how_well_the_class_is_predicted(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    part = text.split("### The class")[1].split("### Seconds")[0]
    # Average precision is n / 10: of margin (0 + 2 n + 9) / 40 with n of 4, 5 and 6, of random 1/10 and .2, .3, .2.
    half = 100 * 4.302653 * 0.05 / 3**0.5
    assert f"| margin | 47.50 ({47.5 - half:.2f} to {47.5 + half:.2f}) |" in part
    areas = np.array([(0 + 2 + n) / 40 for n in (2, 3, 2)])
    assert f"| random | {100 * areas.mean():.2f} (" in part
    assert "The differences to random, by seed, in points. In each column p is corrected by Holm" in part
    gains = np.array([17, 19, 21]) / 40 - areas
    t = gains.mean() / (gains.std(ddof=1) / 3**0.5)
    p = 1 - t / np.sqrt(2 + t**2)  # two-sided, with two degrees of freedom
    assert re.search(rf"\| margin \| \+36\.67 \(\+[\d.]+ to \+[\d.]+\), p {p:.3f} \|", part)


def test_the_figure_comes_with_its_data(reported):
    with (reported / "figures" / "reviews.csv-cnn-class.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header[:4] == ["measure", "strategy", "labelled", "share"]
    found = {tuple(row[:3]): [float(value) for value in row[6:]] for row in rows}
    assert found["share found", "margin", "40"] == [0.4, 0.5, 0.6]
    assert found["recall", "margin", "40"] == [0.8, 1, 1]
    assert {row[0] for row in rows} == {"average precision", "F1", "precision", "recall", "share found"}
    for kind in ("svg", "png"):
        assert (reported / "figures" / f"reviews.csv-cnn-class.{kind}").stat().st_size > 1000


def test_a_hostile_name_of_a_class_is_text(tmp_path):
    write_class_run(tmp_path, "random", 0, (0, 1))
    name, file = "<b>$x$</b>|", tmp_path / "random-0" / "rounds.jsonl"
    file.write_text(file.read_text().replace('"spam"', json.dumps(name)))
    assert make_report([str(tmp_path), "--positive-class", name]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_any_metric_of_a_class_is_there_without_asking(reported):
    runs = read_runs([reported])
    (found,) = compare(runs, "test", "recall:spam")
    assert {c.strategy: c.scores[0].tolist() for c in found.curves} == {"margin": [0, 0.8, 1], "random": [0, 0.2, 0.4]}


@pytest.mark.parametrize(
    ("recorded", "name", "message"),
    [
        (True, "eggs", "--positive-class is 'eggs', of which"),
        (True, "eggs", "it has 'ham', 'spam'"),
        (False, "spam", "has no records; it has "),
    ],
)
def test_a_class_without_records_is_one_line(tmp_path, capsys, recorded, name, message):
    write = write_class_run if recorded else write_run
    write(tmp_path, "random", 0, (0, 1))
    assert make_report([str(tmp_path), "--positive-class", name]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_runs_of_earlier_versions_have_no_such_part(tmp_path):
    write_run(tmp_path, "random", 0, rarefy="spam=0.05")
    assert make_report([str(tmp_path)]) == 0
    assert "The class" not in (tmp_path / "report.md").read_text(encoding="utf-8")
