"""The report as a user gets it, from hand-made records."""

import csv
import html.parser
import re
import xml.etree.ElementTree as ET

import pytest
from test_results import write_run

from dami_text.cli.report import make_report

HOSTILE = "mine:<script>alert('x')</script>|`$x$`=1"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A folder of runs of three seeds, one of which has failed, and the report on them."""
    path = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        write_run(path, "random", seed, (0.5, 0.60 + seed / 100, 0.70))
        write_run(path, "dami", seed, (0.5, 0.65 + seed / 100, 0.75))
        write_run(path, HOSTILE, seed, (0.5, 0.55 + seed / 100, 0.70), name=f"hostile-{seed}")
    (path / "failed").mkdir()
    (path / "failed" / "error.txt").write_text("<b>no</b> memory\n\nTraceback")
    assert make_report([str(path)]) == 0
    return path


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_the_figures_come_with_their_data(reported):
    names = {file.name for file in (reported / "figures").iterdir()}
    assert names == {
        *(f"reviews.csv-cnn-{what}.{kind}" for what in ("curves", "matrix") for kind in ("csv", "png", "svg")),
        "reviews.csv-cnn-savings.csv",
    }
    header, *lines = rows(reported / "figures" / "reviews.csv-cnn-curves.csv")
    assert header == ["strategy", "labelled", "share", "mean", "half interval", "seed 0", "seed 1", "seed 2"]
    assert lines[1] == ["dami", "40", "0.2", "0.66", "0.0248414", "0.65", "0.66", "0.67"]
    savings = {(row[0], row[1]): row[2:] for row in rows(reported / "figures" / "reviews.csv-cnn-savings.csv")}
    # Random rises from 0.61 with 40 labels to 0.70 with 60. With 40 + 20 t it is .05 - .1 t + seed t / 100 behind dami
    # with 40: .05 - .09 t on average, in an interval of half the width 4.303 * .01 t / sqrt(3).
    half = 4.302653 * 0.01 / 3**0.5
    expected = [40 + 20 * 0.05 / slope for slope in (0.09, 0.09 + half, 0.09 - half)]
    assert [float(number) for number in savings["dami", "40"]] == pytest.approx(expected, abs=0.021)
    assert savings["dami", "60"] == ["inf", "inf", "inf"], "with 60 labels dami has more than random ever does"


def test_the_report_says_it_in_numbers(reported):
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert "| 40 (20%) | 66.0 ± 2.5 | 56.0 ± 2.5 | 61.0 ± 2.5 |" in text
    # The area of dami is (0.5 + 2 * 0.66 + 0.75) / 4, of random (0.5 + 2 * 0.61 + 0.70) / 4.
    assert re.search(r"\| dami \| 64\.25 \(63\.01 to 65\.49\) \| \+3\.75 \(\+3\.75 to \+3\.75\) \|", text)
    assert "| dami | 40 = random with 51 (" in text
    assert re.search(r"\| random \| 0\.00 \| 0\.75 \|  \|", text), "random ties the hostile one at the end"
    assert re.search(r"\| dami \| 3\.0 \| 1\.0 \|", text), "seconds of training and of querying"


def test_what_the_records_hold_is_text_and_no_markup(reported):
    page = (reported / "report.html").read_text(encoding="utf-8")
    tags, text = [], []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.handle_data = text.append
    parser.feed(page)
    assert {tag for tag, _ in tags} == {
        *("html", "meta", "title", "style", "h1", "h2", "h3", "p", "div", "table", "tr", "td", "th", "img")
    }
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources), "the page needs no other file"
    assert HOSTILE in text
    assert any("<b>no</b> memory" in part for part in text)
    markdown = (reported / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    table = next(line for line in markdown.splitlines() if line.startswith("| labelled"))
    assert len(re.findall(r"(?<!\\)\|", table)) == 5, "four columns"


def test_svg_files_are_xml_and_the_same_each_time(reported, tmp_path):
    assert make_report([str(reported), "--output-dir", str(tmp_path)]) == 0
    for file in (reported / "figures").iterdir():
        assert file.read_bytes() == (tmp_path / "figures" / file.name).read_bytes()
        if file.suffix == ".svg":
            assert ET.parse(file).getroot().tag.endswith("svg")


def test_the_report_from_the_archive_is_the_report_from_the_folders(reported, tmp_path):
    archive = tmp_path / "records.jsonl.gz"
    assert make_report([str(reported), "--output-dir", str(tmp_path / "a"), "--save-records", str(archive)]) == 0
    assert make_report([str(archive)]) == 0
    without_failures = re.sub(r"(?s)Runs that failed.*?(?=##)", "", (tmp_path / "a" / "report.md").read_text())
    assert (tmp_path / "report.md").read_text() == without_failures


def test_strategies_are_chosen_and_put_in_order(reported, tmp_path):
    options = ["--output-dir", str(tmp_path), "--strategies", "random", "dami", "--on", "validation"]
    assert make_report([str(reported), *options]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "| 40 (20%) | 71.0 ± 2.5 | 76.0 ± 2.5 |" in text
    assert "The measure is validation accuracy" in text
    assert "a score on it is the best of its evaluations" in text
    assert "is the best of its evaluations" not in (reported / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "random", "badge"], "--strategies names ['badge'], of which there is no run; there are ["),
        (["--metric", "roc_auc"], "random-0 has no roc_auc on the test split; it has accuracy, macro_f1"),
        (["--save-records", "x.gz"], "--save-records is x.gz; it must be a file named records.jsonl.gz"),
    ],
)
def test_what_cannot_be_reported_is_one_line(reported, tmp_path, capsys, arguments, message):
    arguments = [str(reported), "--output-dir", str(tmp_path / "out"), *arguments]
    if "--metric" in arguments:
        arguments += ["--strategies", "random"]
    assert make_report(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_one_seed_and_one_round_are_reported_without_intervals(tmp_path):
    write_run(tmp_path, "random", 0, (0.5, 0.6))
    write_run(tmp_path, "dami", 0, (0.5, 0.7))
    write_run(tmp_path, "dami", 0, (0.5,), name="alone", model="bilstm")
    write_run(tmp_path, "random", 0, (0.4,), name="alone too", model="bilstm")
    assert make_report([str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "| 40 (20%) | 70.0 | 60.0 |" in text
    assert "40 = random with more than 40 |" in text
    assert "nan" not in text
