"""Suggestions that texts came with: shown on demand, never counted, measured, exported, and what disagreement asks."""

import csv
import io
import json
import logging

import numpy as np
import pytest
from labeling_cases import label_some, make_session

import dami_text.labeling.page.server
from dami_text.cli.main import main
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ColumnError, ConfigError, DataError
from dami_text.labeling.asking import ask
from dami_text.labeling.creation import add_texts
from dami_text.labeling.exchange.formats import write_records
from dami_text.labeling.exchange.matching import records_of
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.progress import Proportion, progress_of
from dami_text.labeling.rounds import create_session, learner_with_labels, train_round
from dami_text.labeling.session import Session, SessionConfig
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.suggestion_accuracy import suggestion_accuracy
from dami_text.models.inference import predict_probabilities

N = 80
TRUTH = [i % 2 for i in range(N)]


def rows_of(n=N, wrong=(), missing=()):
    """Texts whose class is plain, with the suggestion of an LLM and its score."""
    rows = []
    for i in range(n):
        words, suggested = ["dull boring stale", "good lively fresh"][i % 2], ["neg", "pos"][(i + (i in wrong)) % 2]
        rows.append({"text": f"{words} film number {i}", "llm": suggested, "sure": 0.5 + i / 200})
        if i in missing:
            rows[-1] |= {"llm": "", "sure": ""}
    return rows


def write(folder, rows, name="a.csv"):
    with (folder / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def suggesting(folder, rows, name="a", **options):
    own = {"suggestion_column": "llm", "suggestion_score_column": "sure", "labels": ["neg", "pos"]}
    own |= {"near_duplicates": 1.0}  # these texts are alike
    own |= {key: options.pop(key) for key in [*options] if key in LabelingConfig.__dataclass_fields__}
    options |= {"initial_size": 20, "query_size": 10, "model": "linear", "strategy": "margin"}
    config = RunConfig.of(dataset=str(write(folder, rows, f"{name}.csv")), **options)
    return create_session(folder / f"{name}.dami", SessionConfig(config, LabelingConfig(**own)))


def test_a_suggestion_is_shown_on_demand_and_never_counts(tmp_path):
    session = suggesting(tmp_path, rows_of(missing=range(40)))
    assert progress_of(session).n_labeled == 0
    desk = Desk(session)
    assert desk.suggestion("51.0.0") == "The suggestion: pos, 76%"
    assert desk.suggestion("3.0.0") == desk.suggestion("-") == "There is no suggestion for this text."
    assert "pos" not in str(desk.next("ann").why)
    bare = suggesting(tmp_path, rows_of(), "b", suggestion_score_column=None)
    assert Desk(bare).suggestion("50.0.0") == "The suggestion: neg"
    assert Desk(make_session(tmp_path / "a.csv", tmp_path / "c.dami")).suggestion("1.0.0").startswith("There is no")


def test_disagreement_asks_where_the_model_contradicts_the_suggestion_the_surest_first(tmp_path):
    wrong = [7, 20, 33, 46]
    session = suggesting(tmp_path, rows_of(wrong=wrong, missing=[50]), ask="disagreement", validation_share=0.0)
    session.store.add_labels([(row, TRUTH[row], "ann") for row in range(N) if row not in wrong and row % 4 < 2][:24])
    learner = learner_with_labels(session, LabelSnapshot.of(session))
    free = learner.pool.unlabeled
    query = ask(session, learner, 10)
    probabilities = predict_probabilities(learner.trained_model(), learner.pool.texts, np.arange(N))
    suggested = session.suggestions.labels
    margins = {  # by hand
        row: probabilities[row].max() - probabilities[row, suggested[row]]
        for row in free.tolist()
        if suggested[row] >= 0 and probabilities[row].argmax() != suggested[row]
    }
    assert set(margins) == set(wrong)
    assert query.rows[:4].tolist() == sorted(margins, key=lambda row: -margins[row])
    assert {reason["strategy"] for reason in query.reasons[:4]} == {"disagreement"}
    assert len(set(query.rows.tolist())) == 10, "the rest is the strategy's"
    assert learner.pool.unlabeled.tolist() == free.tolist(), "the learner is as it was"
    train_round(session)
    asked = session.store.queue(1)
    assert [item.row for item in asked[:4]] == query.rows[:4].tolist()
    assert "disagree" in Desk(session).next("bob").why[0][0]


def test_how_right_suggestions_are_is_measured_where_chance_chose_the_texts(tmp_path):
    session = suggesting(tmp_path, rows_of(wrong=range(0, N, 5)), validation_share=0.2)
    assert "not measured yet" in str(suggestion_accuracy(session))
    rows = label_some(session, TRUTH, 20)
    found = suggestion_accuracy(session)
    assert found.at_random == Proportion.of(sum(row % 5 != 0 for row in rows), 20)
    assert found.others == (0, 0)
    assert "biased" not in str(found)
    train_round(session)
    later = label_some(session, TRUTH, 10)
    chosen = [row for row in later if row not in session.held_out]
    found = suggestion_accuracy(session)
    assert found.at_random.n == 30 - len(chosen)
    assert found.others == (sum(row % 5 != 0 for row in chosen), len(chosen))
    assert "which is biased" in str(found)


def test_labels_of_a_file_are_no_measure(tmp_path):
    rows = [row | {"label": "pos" if i < 30 else ""} for i, row in enumerate(rows_of())]
    session = suggesting(tmp_path, rows)
    assert suggestion_accuracy(session).at_random is None
    assert suggestion_accuracy(session).others == (15, 30)


def test_status_tells_it_and_says_nothing_without_suggestions(tmp_path, capsys):
    session = suggesting(tmp_path, rows_of())
    label_some(session, TRUTH, 10)
    assert main(["status", str(session.folder)]) == 0
    assert (
        "suggested  right in 100.0% (95% interval 72.2% to 100.0%, 10 texts) drawn at random" in capsys.readouterr().out
    )
    plain = make_session(tmp_path / "a.csv", tmp_path / "b.dami")
    assert main(["status", str(plain.folder)]) == 0
    assert "suggested" not in capsys.readouterr().out


def test_export_has_the_suggestions_beside_the_labels(tmp_path):
    session = suggesting(tmp_path, rows_of(wrong=[4], missing=[9]))
    session.store.add_labels([(4, 0, "ann"), (9, 1, "ann")])
    records, names = records_of(session), session.class_names
    cells = list(csv.DictReader(io.StringIO(write_records("csv", records, names).decode())))
    assert [(row["label"], row["llm"], row["sure"]) for row in cells] == [("neg", "pos", "0.52"), ("pos", "", "")]
    lines = [json.loads(line) for line in write_records("jsonl", records, names).splitlines()]
    assert [line["llm"] for line in lines] == ["pos", ""]
    task, other = json.loads(write_records("label-studio", records, names))
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("suggestion", 0.52)
    assert prediction["result"][0]["value"] == {"choices": ["pos"]}
    assert other["predictions"] == []
    first, second = json.loads(write_records("argilla", records, names))
    assert first["suggestions"]["label"] == {"value": "pos", "score": 0.52, "agent": "suggestion"}
    assert second["suggestions"] == {}


def test_suggestions_name_classes_as_imported_labels_do(tmp_path):
    values = ["1", "1.0", " 1 ", "0", "true"]
    rows = [{"text": f"film {i} {value.strip()}x", "llm": value} for i, value in enumerate(values)]
    session = suggesting(tmp_path, rows, labels=["0", "1"], suggestion_score_column=None, validation_share=0.0)
    assert session.suggestions.labels.tolist() == [1, 1, 1, 0, 1]
    session.rename_class("1", "good")
    session.store.close()
    assert Session(session.folder).suggestions.labels.tolist() == [1, -1, 1, 0, -1], "by the former name"


def test_names_that_are_no_class_are_counted_and_left_out(tmp_path, caplog):
    rows = rows_of()
    rows[0]["llm"] = rows[1]["llm"] = "mixed"
    with caplog.at_level(logging.INFO):
        session = suggesting(tmp_path, rows)
    assert "2 of 80 suggestions in column 'llm' name no class and are left out: 'mixed'" in caplog.text
    assert session.suggestions.labels[:3].tolist() == [-1, -1, 0]
    assert "texts have no suggestion" not in caplog.text


@pytest.mark.parametrize(
    ("change", "options", "error", "wanted"),
    [
        ({}, {"suggestion_column": "gpt"}, ColumnError, "no column 'gpt' in"),
        ({}, {"suggestion_score_column": "gpt"}, ColumnError, "name one of these with --suggestion-score-column"),
        ({"llm": "good"}, {}, DataError, "holds the suggestions 'good', and none is a class"),
        ({"sure": 87}, {}, DataError, "wanted 0 to 1: divide percentages by 100"),
        ({"sure": "high"}, {}, ColumnError, "holds 'high', no number"),
        ({}, {"label_column": "llm"}, ConfigError, "which is read as labels that people gave"),
    ],
)
def test_bad_columns_get_one_line_and_make_no_session(tmp_path, change, options, error, wanted):
    with pytest.raises(error) as told:
        suggesting(tmp_path, [row | change for row in rows_of()], **options)
    assert wanted in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "a.dami").exists()


def test_a_column_of_labels_can_be_suggestions_where_it_is_not_read_as_labels(tmp_path):
    session = suggesting(tmp_path, rows_of(), label_column="llm", ignore_labels=True)
    assert progress_of(session).n_labeled == 0
    assert (session.suggestions.labels == TRUTH).all()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"ask": "disagreement"}, "--ask is 'disagreement'"),
        ({"suggestion_score_column": "sure"}, "--suggestion-score-column is 'sure'"),
        ({"near_duplicates": 0.0}, "--near-duplicates is 0.0; it must be greater than 0 and at most 1"),
    ],
)
def test_options_without_their_column_are_refused(options, wanted):
    with pytest.raises(ConfigError) as told:
        LabelingConfig(**options)
    assert wanted in str(told.value)


def test_new_texts_bring_their_suggestions(tmp_path):
    session = suggesting(tmp_path, rows_of())
    more = [row | {"text": f"more {row['text']}"} for row in rows_of(6)]
    add_texts(session, str(write(tmp_path, more, "b.csv")))
    assert session.suggestions.labels[N:].tolist() == TRUTH[:6]
    with pytest.raises(DataError, match="wanted 0 to 1"):
        add_texts(session, str(write(tmp_path, [more[0] | {"text": "new", "sure": "7"}], "c.csv")))
    assert len(session) == N + 6


def test_what_is_asked_can_be_changed_on_another_day(tmp_path, monkeypatch):
    monkeypatch.setattr(dami_text.labeling.page.server, "serve", lambda *_, **__: None)
    monkeypatch.setattr(dami_text.labeling.page.server, "require_gradio", lambda: None)
    session = suggesting(tmp_path, rows_of())
    assert main(["label", str(session.folder), "--ask", "disagreement", "--near-duplicates", "0.9"]) == 0
    labeling = Session(session.folder).config.labeling
    assert (labeling.ask, labeling.near_duplicates) == ("disagreement", 0.9)
