"""Sessions whose texts have any number of labels."""

import json
from collections import Counter
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
import yaml
from encoder_cases import save_encoder
from label_cases import NAMES, labeled_texts
from labeling_cases import (
    label_some,
    make_label_session,
    make_linear_session,
    texts_with_labels,
    texts_without_labels,
)
from sklearn import metrics

from dami_text.cli.main import main
from dami_text.config.page_options import PageConfig
from dami_text.errors import ColumnError, ConfigError, DataError, RecordError
from dami_text.labeling.class_numbers import ClassNumbers
from dami_text.labeling.doubts import doubts_of
from dami_text.labeling.exchange.matching import import_decisions, records_of
from dami_text.labeling.exchange.records import Decision
from dami_text.labeling.exchange.selection import selected_records
from dami_text.labeling.final import FinalModel, fine_tuning, train_final
from dami_text.labeling.label_progress import LabelAgreement, LabelReport, masi
from dami_text.labeling.opening import open_session
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.progress import Proportion, agreements, missing_classes, progress_of
from dami_text.labeling.review import doubtful_records, find_doubts
from dami_text.labeling.rounds import encoded_texts, learner_with_labels, train_round
from dami_text.labeling.session import Session
from dami_text.labeling.settled import stop_rows
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.status import session_status
from dami_text.labeling.store.events import Shown, Store
from dami_text.labeling.store.queues import QueueItem
from dami_text.learning.hypergeometric import hypergeometric_interval
from dami_text.models.inference import predict_probabilities

LEASE = 60.0


@pytest.fixture
def truth(tmp_path):
    """The right labels of the texts of `session`."""
    return texts_with_labels(tmp_path)[1]


@pytest.fixture
def session(tmp_path, truth):
    """A session of texts without labels."""
    options = {"validation_share": 0.3, "initial_size": 40, "query_size": 20}
    with make_label_session(tmp_path / "labels.jsonl", tmp_path / "labels.dami", NAMES, **options) as session:
        yield session


# The file of labels ---------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "labels.sqlite", create=True, multilabel=True)) as store:
        store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(5)])
        yield store


def label_next(store, annotator, label):
    shown, _ = store.next(annotator, LEASE)
    store.decide(shown, annotator, "label", label)
    return shown.row


def labels_of(store):
    return {row["row"]: row["label"] for row in store.labels()}


def test_labels_are_tuples_and_none_of_them_is_an_answer_other_than_a_skip(store):
    for label in ((0, 2), (), (1,)):
        label_next(store, "ann", label)
    store.decide(store.next("ann", LEASE)[0], "ann", "skip")
    assert labels_of(store) == {0: (0, 2), 1: (), 2: (1,)}
    assert store.skipped() == [3]
    assert [event["label"] for event in store.events()] == [(0, 2), (), (1,), None]
    with closing(Store(store.path)) as other:
        assert other.multilabel
        assert labels_of(other) == labels_of(store)


def test_the_same_labels_again_are_no_news_and_others_are(store):
    row = label_next(store, "ann", (0, 2))
    assert store.add_labels([(row, (0, 2), "ann")]) == (0, 0)
    assert store.add_labels([(row, (0,), "ann")]) == (1, 1)
    shown, _ = store.shown(row, "ann")
    store.decide(shown, "ann", "label", ())
    assert labels_of(store) == {row: ()}
    store.undo("ann", store.last_act("ann"), LEASE)
    assert labels_of(store) == {row: (0,)}


def test_of_several_annotators_labels_those_of_most_count(store):
    store.extend_queue(0, [QueueItem(9, "start", {}, wanted=3)])
    for _ in range(5):
        label_next(store, "ann", ())
    labels = {"ann": (0,), "bob": (0, 1), "eve": (0, 1)}
    for name, label in labels.items():
        while label_next(store, name, label) != 9:
            pass
    assert labels_of(store)[9] == (0, 1)


def test_a_session_is_of_the_task_that_it_was_made_with(session):
    assert (session.multilabel, session.store.multilabel) == (True, True)
    options = yaml.safe_load((session.folder / "config.yaml").read_text())
    changed = {**options, "task": "text", "strategy": "dami", "metric": "accuracy"}
    (session.folder / "config.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(
        RecordError, match=r"config.yaml has --task text, and the labels in labels.sqlite are of another"
    ):
        Session(session.folder)


# Names and back -------------------------------------------------------------------------------------------------


def test_names_become_numbers_in_order_and_what_is_wrong_is_said():
    numbers = ClassNumbers(["food", "price", "place"], {"cost": "price"}, multilabel=True)
    assert numbers.label(["place", "cost"]) == (1, 2)
    assert numbers.label([]) == ()
    for given, told in {
        ("food", "service"): "the label 'service' is no class of the session",
        ("food", "food"): "the label 'food' is there twice; give each label once",
        ("cost", "price"): "the label 'cost' is there twice; give each label once",
        ("food", None): "a null is among the labels; leave it out",
    }.items():
        with pytest.raises(ValueError, match=f"^{told}$"):
            numbers.label(list(given))
    with pytest.raises(ValueError, match="wanted a list of them"):
        numbers.label("food")
    with pytest.raises(ValueError, match="a text has one class here"):
        ClassNumbers(["food", "price"], {}).label(["food"])


def test_records_have_lists_of_names_and_come_back(session):
    label_next(session.store, "ann", (0, 3))
    label_next(session.store, "ann", ())
    session.store.decide(session.store.next("ann", LEASE)[0], "ann", "skip")
    records = records_of(session)
    found = sorted(((r.status, r.label) for r in records), key=lambda pair: (pair[0], not pair[1]))
    assert found == [("labelled", ["looks", "story"]), ("labelled", []), ("skipped", None)]
    decisions = [Decision(id=r.id, text=r.text, label=r.label, annotator="bob") for r in records]
    imported = import_decisions(
        session, [*decisions, Decision(id=None, text=session.text(7), label=["looks", "looks"])]
    )
    assert imported.added == 3
    assert imported.unusable == ("the label 'looks' is there twice; give each label once",)
    given = [{row["row"]: row["label"] for row in session.store.decisions(name)} for name in ("ann", "bob")]
    assert given[0] == given[1]


# Making a session -----------------------------------------------------------------------------------------------


def test_labels_that_the_file_has_count_whichever_way_they_are_written(tmp_path, truth):
    texts = labeled_texts(40)[0]
    names = [[NAMES[i] for i in label] for label in truth[:40]]
    (tmp_path / "b.jsonl").write_text(
        "\n".join(
            json.dumps({"text": text, "label": row if i else None})
            for i, (text, row) in enumerate(zip(texts, names, strict=True))
        )
    )
    (tmp_path / "c.csv").write_text(
        "text,label\n" + "".join(f"{text},{'; '.join(row)}\n" for text, row in zip(texts, names, strict=True))
    )
    (tmp_path / "d.csv").write_text(
        f"text,{','.join(NAMES)}\n"
        + "".join(
            ",".join([text, *(str(int(name in row)) for name in NAMES)]) + "\n"
            for text, row in zip(texts, names, strict=True)
        )
    )
    right = dict(enumerate(truth[:40]))
    with make_label_session(tmp_path / "b.jsonl", tmp_path / "b.dami") as session:
        assert session.class_names == NAMES
        assert labels_of(session.store) == {row: label for row, label in right.items() if row}
    with make_label_session(tmp_path / "c.csv", tmp_path / "c.dami", label_separator=";") as session:
        assert labels_of(session.store) == right
    with make_label_session(tmp_path / "d.csv", tmp_path / "d.dami", label_columns=NAMES) as session:
        assert (session.class_names, labels_of(session.store)) == (NAMES, right)
        assert session.own_columns([0]) == [{}]


def test_labels_that_are_wrong_are_told_before_there_is_a_session(tmp_path):
    file = tmp_path / "a.jsonl"
    for label, wrong, told in (
        (["food", "food"], DataError, "the label 'food' is there twice; give each label once"),
        (["food", None], DataError, r"a null or an empty name is among the labels \['food', None\]; leave it out"),
        (["food", "view"], DataError, r"column 'label' holds the labels \['view'\], but --labels names"),
        ("food", ColumnError, "name what stands between a text's labels with --label-separator"),
    ):
        given = [["food"], label] if isinstance(label, list) else [label, label]
        lines = [json.dumps({"text": f"text {i}", "label": row}) for i, row in enumerate(given)]
        file.write_text("\n".join(lines))
        with pytest.raises(wrong, match=told):
            make_label_session(file, tmp_path / "a.dami", ["food", "price"])
        assert not (tmp_path / "a.dami").exists()
    with make_label_session(file, tmp_path / "b.dami", ["food", "price"], ignore_labels=True) as session:
        assert labels_of(session.store) == {}


def test_what_is_for_one_class_a_text_is_refused_in_a_line(tmp_path, reviews, session, capsys):
    file, _ = texts_without_labels(reviews, tmp_path)
    make_linear_session(file, tmp_path / "one.dami").close()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("dami_text.labeling.page.server.require_gradio", lambda: None)
        for folder, task in (("one.dami", "multilabel"), ("labels.dami", "text")):
            other = "text" if task == "multilabel" else "multilabel"
            with pytest.raises(ConfigError, match=f"was made with --task {other}, and --task is {task}; leave it out"):
                open_session(str(tmp_path / folder), {"task": task}, PageConfig())
        with open_session(str(session.folder), {"task": "multilabel"}, PageConfig()) as again:
            assert again.multilabel
    assert main(["simulate", str(session.folder)]) == 1
    assert "error: dami-text simulate is for one class a text, and " in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--suggestion-column is for one class a text, and --task is multilabel"):
        make_label_session(tmp_path / "labels.jsonl", tmp_path / "s.dami", NAMES, suggestion_column="guess")
    with pytest.raises(ConfigError, match="--fine-tune is for one class a text"):
        fine_tuning(session.config)


def test_texts_that_are_added_bring_their_labels(tmp_path, session):
    (tmp_path / "more.jsonl").write_text(
        "".join(
            json.dumps({"text": f"new {i}", "label": label}) + "\n" for i, label in enumerate([["story"], [], None])
        )
    )
    assert main(["add", str(session.folder), str(tmp_path / "more.jsonl")]) == 0
    session.refresh()
    assert labels_of(session.store) == {300: (3,), 301: ()}


# Rounds ---------------------------------------------------------------------------------------------------------


def texts_labels_and_predictions(session):
    """Of the labelled held-out texts, 0 and 1 for each label: given by people, and by the saved model."""
    rows = [row for row in session.held_out.tolist() if row in labels_of(session.store)]
    given = np.array([[int(i in labels_of(session.store)[row]) for i in range(len(NAMES))] for row in rows])
    texts = encoded_texts(session).texts
    model = learner_with_labels(session, LabelSnapshot.of(session)).trained_model()
    return given, (predict_probabilities(model, texts, np.array(rows)) > 0.5).astype(int)


def test_a_round_learns_the_labels_and_its_progress_is_that_of_scikit_learn(session, truth):
    for n in (24, 24, 24):
        label_some(session, truth, n)
        record = train_round(session)
    done = progress_of(session)
    given, predicted = texts_labels_and_predictions(session)
    assert given.sum() > 10
    assert done.metric == "micro F1"
    assert done.accuracy.value == pytest.approx(metrics.f1_score(given, predicted, average="micro"))
    assert done.accuracy.low < done.accuracy.value <= done.accuracy.high
    assert done.accuracy.n == len(given)
    assert done.report.macro_f1 == pytest.approx(metrics.f1_score(given, predicted, average="macro", zero_division=0))
    assert done.report.subset_accuracy == pytest.approx(metrics.accuracy_score(given, predicted))
    recall = metrics.recall_score(given, predicted, average=None, zero_division=0)
    there = [i for i in range(len(NAMES)) if given[:, i].any()]
    assert {name: found.value for name, found in done.recall.items()} == pytest.approx(
        {NAMES[i]: recall[i] for i in there}
    )
    labels = labels_of(session.store)
    assert done.by_class == {name: sum(i in label for label in labels.values()) for i, name in enumerate(NAMES)}
    assert done.n_without_label == sum(not label for label in labels.values())
    assert done.gain is None
    assert [n for n, _ in done.curve] == [24, 48, 72]
    counts = Counter(i for row, label in labels.items() if row not in session.held_out for i in label)
    assert record.details["class_counts"] == [counts[i] for i in range(len(NAMES))]
    told = session_status(session)
    assert f"micro F1   {done.accuracy}; macro F1" in told
    assert f"labels     looks {done.by_class['looks']}, people" in told
    assert f"; {done.n_without_label} texts have none" in told


def test_queued_texts_have_a_guess_for_each_label(session, truth):
    label_some(session, truth, 30)
    train_round(session)
    learner = learner_with_labels(session, LabelSnapshot.of(session))
    for item in session.store.queue(1)[:5]:
        (p,) = predict_probabilities(learner.trained_model(), encoded_texts(session).texts, np.array([item.row]))
        assert item.reason["guess"] == [i for i in range(len(NAMES)) if p[i] > 0.5]
        assert item.reason["probability"] == pytest.approx(np.maximum(p, 1 - p).prod(), abs=1e-3)
        shown = zip(item.reason["likeliest"], item.reason["probabilities"], strict=True)
        assert dict(shown) == pytest.approx(dict(enumerate(p.tolist())), abs=1e-3)
    records = selected_records(session, 3)
    assert all(isinstance(record.guess, list) and record.label is None for record in records)


def test_a_label_that_comes_later_was_predicted_by_no_earlier_round(session, truth):
    label_some(session, truth, 24)
    train_round(session)
    before = progress_of(session)
    session.change(labels=[*NAMES, "light"])
    assert progress_of(session).accuracy == before.accuracy
    row = next(row for row in session.held_out.tolist() if row in labels_of(session.store))
    version = session.store.latest_decision(row)
    session.store.correct(Shown(row, version), "ann", (*labels_of(session.store)[row], 4))
    done = progress_of(session)
    assert done.recall["light"] == Proportion.of(0, 1)
    assert "never predicted: 'light'" in done.report.warnings()[0]
    assert any("'light'" in told for told in missing_classes(session, LabelSnapshot.of(session)))
    label_some(session, truth, 5)
    train_round(session)
    assert len(progress_of(session).curve) == 2


def test_predictions_settle_by_cohens_kappa_over_all_decisions(session, truth):
    predicted = []
    for n in (20, 5, 5, 5):
        label_some(session, truth, n)
        train_round(session)
        model = learner_with_labels(session, LabelSnapshot.of(session)).trained_model()
        p = predict_probabilities(model, encoded_texts(session).texts, stop_rows(session))
        predicted.append((p > 0.5).ravel())
    kappas = [metrics.cohen_kappa_score(a, b) for a, b in pairwise(predicted)]
    done = progress_of(session)
    assert done.settled.kappa == pytest.approx(np.mean(kappas))
    assert done.settled.n_texts == len(stop_rows(session))


def test_no_label_among_the_held_out_is_not_measured(session, truth):
    label_some(session, [label if row not in session.held_out else () for row, label in enumerate(truth)], 24)
    train_round(session)
    done = progress_of(session)
    assert done.curve == []
    assert done.recall == {}


def test_of_a_rare_label_it_is_told_how_many_texts_are_probably_left(session, truth):
    rows = session.held_out[:25].tolist()
    session.store.add_labels([(row, truth[row], "ann") for row in rows])
    in_sample = sum(3 in truth[row] for row in rows)
    (told,) = [estimate for estimate in progress_of(session).unfound if estimate.name == "story"]
    low, high = hypergeometric_interval(in_sample, 25, session.copies.n_different)
    assert (told.found, told.in_sample, told.n_sample) == (in_sample, in_sample, 25)
    assert (told.low, told.high) == (max(0, low - in_sample), high - in_sample)


def test_a_start_by_descriptions_or_typical_texts(tmp_path, truth):
    encoder = {"model": str(save_encoder(tmp_path / "encoder")), "freeze_encoder": True}
    described = [f"{name}=the {name}" for name in NAMES]
    for start in ({"describe": described, "cold_start": "described"}, {"cold_start": "typical"}):
        name = f"{start['cold_start']}.dami"
        with make_label_session(tmp_path / "labels.jsonl", tmp_path / name, NAMES, **encoder, **start) as session:
            asked = [item for item in session.store.queue(0) if item.kind == "asked"]
            assert {item.reason["strategy"] for item in asked} == {start["cold_start"]}
            label_some(session, truth, 12)
            train_round(session)
            assert all("guess" in item.reason for item in session.store.queue(1)[:5])


def test_the_final_model_and_its_card_are_of_labels(session, truth, tmp_path, capsys):
    label_some(session, truth, 60)
    train_round(session)
    assert main(["train", str(session.folder), "--output-dir", str(tmp_path / "final")]) == 0
    assert "\nmicro F1 " in capsys.readouterr().out
    final = FinalModel.read(tmp_path / "final")
    assert isinstance(final.report, LabelReport)
    assert train_final(session, tmp_path / "final") == final  # at once: it is there
    card = (tmp_path / "final" / "README.md").read_text()
    without = sum(not label for label in labels_of(session.store).values())
    assert f"**Texts with each label**: looks {progress_of(session).by_class['looks']}, " in card
    assert f"; {without} texts have none." in card
    assert f"by this model: a micro F1 of {final.accuracy}" in card
    assert "multi-label-classification" in card
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(session.folder), "--rest", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == len(session) - 60
    right = [
        line["predicted_labels"] == [NAMES[i] for i in truth[session.rows_by_id[line["dami_id"]]]] for line in lines
    ]
    assert np.mean(right) > 0.8


# Doubts and agreement -------------------------------------------------------------------------------------------


def test_labels_have_thresholds_of_their_own_in_the_final_model(session, truth, tmp_path):
    label_some(session, truth, 60)
    plain, moved = (train_final(session, tmp_path / name, threshold=name == "f1") for name in ("none", "f1"))
    assert plain.threshold is None
    assert moved.threshold.startswith(f"{len(NAMES)} of {len(NAMES)} labels from a probability of their own on")
    thresholds = json.loads((tmp_path / "f1" / "config.json").read_text())["moved_thresholds"]
    assert sorted(thresholds) == sorted(NAMES)
    texts = [session.text(row) for row in range(120, 160)]
    before, after = (Classifier.load(tmp_path / name).probabilities(texts) for name in ("none", "f1"))
    for label, name in enumerate(NAMES):
        np.testing.assert_array_equal(after[:, label] > 0.5, before[:, label] > thresholds[name])


def test_the_doubt_about_labels_is_about_the_least_likely_thing_that_they_say(session, truth):
    wrong = label_some(session, truth, 40)[0]
    now = LabelSnapshot.of(session)
    learner = learner_with_labels(session, now)
    training = learner.train()
    doubts = {doubt.row: doubt for doubt in doubts_of(session, now, learner, training)}
    for row, p in zip(learner.pool.labeled.tolist(), training.cross_validated, strict=True):
        said = [p[i] if i in truth[row] else 1 - p[i] for i in range(len(NAMES)) if not np.isnan(p[i])]
        assert doubts[row].quality == pytest.approx(min(said))
        assert doubts[row].guess == tuple(
            i for i in range(len(NAMES)) if (p[i] > 0.5 if p[i] == p[i] else i in truth[row])
        )
    shown, _ = session.store.shown(wrong, "ann")
    session.store.decide(shown, "ann", "label", tuple(i for i in range(len(NAMES)) if i not in truth[wrong]))
    find_doubts(session)
    first = doubtful_records(session)[0]
    assert first.id == session.id(wrong)
    assert isinstance(first.label, list)


def test_words_judge_labels_where_the_model_is_slow(tmp_path, truth):
    options = {"model": "cnn", "word_vectors": "random", "word_vector_dim": 4, "steps": 3, "initial_size": 30}
    with make_label_session(tmp_path / "labels.jsonl", tmp_path / "cnn.dami", NAMES, **options) as session:
        label_some(session, truth, 30)
        find_doubts(session)
        assert len(session.store.doubts()) == 30


def test_masi_by_hand():
    assert masi((0, 1), (1, 0)) == 0
    assert masi((), ()) == 0
    assert masi((), (0,)) == masi((0,), (1,)) == 1
    assert masi((0,), (0, 1)) == pytest.approx(1 - 1 / 2 * 2 / 3)
    assert masi((0, 1, 2), (1, 2, 3)) == pytest.approx(1 - 2 / 4 * 1 / 3)


def test_krippendorffs_alpha_by_hand():
    """Two annotators, three texts: {a} and {a}, {a, b} and {a}, {b} and {}.

    Distances of the answers to a text: 0, 2/3, 1, in the mean 5/9. Among all six answers, {a} three times, {a, b}, {b}
    and {}: pairs of different ones have, each in both orders, 3 * 2/3 + 3 * 1 + 3 * 1 + 2/3 + 1 + 1 = 32/3, of 6 * 5
    pairs in all: 64/90. alpha = 1 - (5/9) / (64/90) = 7/32.
    """
    found = LabelAgreement.of("ann", "bob", [((0,), (0,)), ((0, 1), (0,)), ((1,), ())])
    assert found.alpha == pytest.approx(7 / 32)
    assert found.observed == pytest.approx(1 / 3)
    assert str(found) == "Krippendorff's alpha 0.22 (MASI distance), 33% equal, 3 texts"
    assert LabelAgreement.of("ann", "bob", [((0,), (0,))]).alpha is None


def test_single_labels_agree_as_by_krippendorffs_nominal_alpha():
    """By coincidences: 1 - (n - 1) * (differing) / (pairs of differing values), Krippendorff 2011."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(3, size=30), rng.integers(3, size=30)
    b[:15] = a[:15]
    counts = np.bincount(np.concatenate([a, b]))
    differing = 2 * (a != b).sum()
    expected = 60**2 - (counts**2).sum()
    found = LabelAgreement.of("ann", "bob", [((int(x),), (int(y),)) for x, y in zip(a, b, strict=True)])
    assert found.alpha == pytest.approx(1 - 59 * differing / expected)


def test_annotators_of_the_overlap_agree_in_part(tmp_path, truth):
    options = {"overlap": 2, "overlap_share": 1.0, "validation_share": 0.0}
    with make_label_session(tmp_path / "labels.jsonl", tmp_path / "two.dami", NAMES, **options) as session:
        rows = label_some(session, truth, 12, "ann")
        others = [label[:1] for label in truth]
        assert label_some(session, others, 12, "bob") == rows
        (found,) = agreements(session)
        assert (found.first, found.second, found.n) == ("ann", "bob", 12)
        assert found.observed == pytest.approx(np.mean([truth[row] == others[row] for row in rows]))
        assert f"agreement  ann and bob: {found}" in session_status(session)


def test_the_interval_of_micro_f1_covers_the_truth():
    """Of 400 draws of 200 texts from a population whose F1 is known."""
    rng = np.random.default_rng(0)
    labels = (rng.random((20_000, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(int)
    predicted = np.where(rng.random(labels.shape) < 0.12, 1 - labels, labels)
    true = metrics.f1_score(labels, predicted, average="micro")
    covered = 0
    for _ in range(400):
        rows = rng.integers(len(labels), size=200)
        found = Proportion.of_f1(predicted[rows], labels[rows])
        covered += found.low <= true <= found.high
    assert 0.92 <= covered / 400 <= 0.98
    assert Proportion.of_f1(np.zeros((3, 2), int), np.zeros((3, 2), int)) is None
