"""Texts that a person asks for: the most similar ones and those of a class, as a batch, never a held-out one."""

import json
from collections import Counter
from math import log, sqrt

import numpy as np
import pytest
from encoder_cases import save_encoder
from labeling_cases import CLASSES, label_some, make_session, texts_without_labels

from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.labeling import finding
from dami_text.labeling.exchange.matching import told_of
from dami_text.labeling.finding import BATCH, Finder, WordVectors
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.pool_scores import FILE, MOST_KEYS, PoolScores, guess_of
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.progress import progress_of
from dami_text.labeling.rounds import create_session, new_learner, train_round
from dami_text.labeling.session import Session, SessionConfig
from dami_text.labeling.store.queues import QueueItem, RoundRecord


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


@pytest.fixture
def desk(tmp_path, truth, monkeypatch):
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami"))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    return desk


def row_of(screen):
    return int(screen.token.partition(".")[0])


def words_of(text):
    return "".join(c.lower() if c.isalnum() else " " for c in text).split()


def tfidf_cosines(texts, query):
    """The cosine of each text's sublinear TF-IDF and that of `query`, by scikit-learn's formulas, in plain Python."""
    documents = [[word for word in words_of(text) if len(word) > 1] for text in texts]
    frequency = Counter(word for words in documents for word in set(words))

    def vector(text):
        counts = Counter(word for word in words_of(text) if len(word) > 1)
        weights = {
            word: (1 + log(count)) * (log((1 + len(texts)) / (1 + frequency[word])) + 1)
            for word, count in counts.items()
        }
        length = sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    wanted = vector(query)
    return [sum(weight * wanted.get(word, 0) for word, weight in vector(text).items()) for text in texts]


# What is found ---------------------------------------------------------------------------------------------------


def test_similarity_is_the_cosine_of_tfidf(desk):
    texts = list(desk.session.texts["text"])
    found = WordVectors(desk.session).similarity(texts[5])
    np.testing.assert_allclose(found, tfidf_cosines(texts, texts[5]), atol=1e-5)


def test_the_most_similar_texts_are_those_that_nobody_has_decided_on_and_none_is_held_out(desk, truth):
    store, session = desk.session.store, desk.session
    rows = label_some(session, truth, 10)
    taken = row_of(desk.next("bob"))
    similarity = np.array(tfidf_cosines(list(session.texts["text"]), session.text(rows[0])))
    closed = {*rows, taken, *session.held_out.tolist()}
    items = Finder(session).similar(rows[0], "ann")
    assert len(items) == BATCH
    assert not {item.row for item in items} & closed
    free = [row for row in range(len(session)) if row not in closed]
    best = sorted((similarity[row] for row in free), reverse=True)[:BATCH]
    assert [similarity[item.row] for item in items] == pytest.approx(best, abs=1e-5)
    assert {item.kind for item in items} == {"similar"}
    assert [item.reason["similarity"] for item in items] == pytest.approx(best, abs=1e-3)
    assert taken in {item.row for item in Finder(session).similar(rows[0], "bob")} or similarity[taken] < best[-1]
    assert store.batch("ann") == []


def test_a_large_pool_is_compared_in_part(desk, monkeypatch):
    monkeypatch.setattr(finding, "MOST_COMPARED", 50)
    vectors = WordVectors(desk.session)
    assert len(set(vectors.rows.tolist())) == 50
    texts = list(desk.session.texts["text"])
    part = [texts[row] for row in vectors.rows]
    np.testing.assert_allclose(vectors.similarity(texts[7]), tfidf_cosines(part, texts[7]), atol=1e-5)


def test_nothing_is_like_a_text_without_words(tmp_path, monkeypatch):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in ["!!!", "a film", "the film", "?!", "music"]))
    desk = Desk(make_session(file, tmp_path / "s.dami", validation_share=0.0))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    assert desk.finder.similar(0, "ann") == []
    assert [item.row for item in desk.finder.similar(1, "ann")] == [2]
    screen = desk.next("ann")
    while row_of(screen) != 0:
        screen = desk.label("ann", screen.token, 0)
    same = desk.similar("ann", screen.token)
    assert (row_of(same), same.notice, desk.session.store.batch("ann")) == (0, "No other text is like this.", [])


def test_likely_texts_are_those_of_the_highest_probability_by_the_sessions_model(desk, truth):
    session = desk.session
    assert desk.likely("ann", 1).notice.startswith("There is no model yet")
    rows = label_some(session, truth, 15)
    train_round(session)
    probabilities = Classifier.load(session.folder / "model").probabilities(list(session.texts["text"]))
    closed = {*rows, *session.held_out.tolist()}
    items = desk.finder.likely(1, "ann")
    assert (len(items), {item.kind for item in items}) == (BATCH, {"likely"})
    assert not {item.row for item in items} & closed
    best = sorted((float(p) for row, p in enumerate(probabilities[:, 1]) if row not in closed), reverse=True)[:BATCH]
    assert [probabilities[item.row, 1] for item in items] == pytest.approx(best, abs=2e-3)
    assert [item.reason["chance"] for item in items] == pytest.approx(best, abs=2e-3)
    assert all(item.reason["guess"] == int(probabilities[item.row].argmax()) for item in items[:5])
    assert desk.finder.scores() is desk.finder.scores()  # read once


def test_a_frozen_encoders_features_are_compared_where_there_are_any(desk):
    rng = np.random.default_rng(0)
    n = len(desk.session)
    features = rng.normal(size=(n, 8)).astype(np.float16)
    PoolScores(np.arange(n), np.full((n, 2), 0.5, np.float16), features).save(desk.session.folder)
    centered = features.astype(float) - features.astype(float).mean(axis=0)
    cosines = centered @ centered[3] / np.linalg.norm(centered, axis=1) / np.linalg.norm(centered[3])
    free = [row for row in range(n) if row != 3 and row not in set(desk.session.held_out.tolist())]
    best = sorted(free, key=lambda row: -cosines[row])[:BATCH]
    assert [item.row for item in desk.finder.similar(3, "ann")] == best


def test_a_round_of_a_frozen_encoder_keeps_the_features_that_the_head_reads(tmp_path, truth):
    run = RunConfig.of(
        dataset=str(tmp_path / "texts.csv"),
        model=str(save_encoder(tmp_path / "bert")),
        freeze_encoder=True,
        strategy="margin",
        initial_size=10,
        query_size=5,
    )
    config = SessionConfig(run, LabelingConfig(labels=CLASSES))
    with create_session(tmp_path / "encoder.dami", config) as session:
        label_some(session, truth, 10)
        train_round(session)
        features = new_learner(session).pool.texts.frozen_features.features
        scores = PoolScores.load(session)
        assert features.shape[1] > 0
        np.testing.assert_allclose(scores.features, features, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=2e-3)


@pytest.mark.parametrize("content", [b"", b"not a file of arrays", b"PK\x03\x04broken"])
def test_damaged_scores_are_none(desk, content):
    (desk.session.folder / FILE).write_bytes(content)
    assert desk.finder.scores() is None
    assert len(desk.finder.similar(3, "ann")) > 0


def test_scores_of_other_classes_or_texts_are_none(desk):
    n = len(desk.session)
    for rows, n_classes in ((np.arange(n), 3), (np.arange(1, n + 1), 2)):
        PoolScores(rows, np.zeros((n, n_classes), np.float16), np.zeros((n, 0), np.float16)).save(desk.session.folder)
        assert PoolScores.load(desk.session) is None


def test_the_likeliest_classes_are_in_the_reason_where_there_are_more_than_keys():
    p = np.arange(MOST_KEYS + 1) / 45
    assert guess_of(p) == {"guess": 9, "probability": 0.2, "likeliest": [9, 8, 7, 6, 5]}
    assert guess_of(np.array([0.3, 0.7])) == {"guess": 1, "probability": 0.7}


# Batches ---------------------------------------------------------------------------------------------------------


def test_similar_texts_come_after_the_one_on_the_screen_and_are_marked(desk):
    store = desk.session.store
    first = desk.next("ann")
    asked = desk.similar("ann", first.token)
    assert (row_of(asked), asked.notice) == (row_of(first), f"{BATCH} similar texts come next.")
    batch = [item.row for item in store.batch("ann")]
    screen, seen = desk.label("ann", asked.token, 1), []
    while screen.batch:
        assert screen.why[0][0].startswith("You asked for texts like another one")
        seen.append(row_of(screen))
        screen = desk.label("ann", screen.token, 0)
    assert seen == batch
    items = store.latest_items()
    assert {items[row].kind for row in batch} == {"similar"}
    assert store.shown(row_of(screen), "ann")[1].kind == "start"


def test_a_batch_is_one_annotators_and_outlives_a_round(desk):
    store = desk.session.store
    first = desk.next("ann")
    other = desk.next("bob")
    screen = desk.label("ann", desk.similar("ann", first.token).token, 1)
    rows = {item.row for item in store.batch("ann")}
    assert row_of(screen) in rows
    store.finish_round(
        RoundRecord(number=0, through=0, n_labeled=1, time="now", details={}, predictions=b""),
        [QueueItem(row, "asked", {}) for row in range(100, 140)],
    )
    for _ in range(3):
        screen = desk.label("ann", screen.token, 1)
        other = desk.label("bob", other.token, 0)
        assert row_of(screen) in rows
        assert row_of(other) not in {item.row for item in store.batch("ann")}
    assert [item.row for item in store.queue(1)] == list(range(100, 140))  # what `select` gives out


def test_back_ends_a_batch_and_another_request_replaces_it(desk, truth):
    store = desk.session.store
    label_some(desk.session, truth, 12)
    train_round(desk.session)
    first = desk.next("ann")
    desk.similar("ann", first.token)
    assert len(store.batch("ann")) == BATCH
    likely = desk.likely("ann", 0)
    assert likely.batch == "likely"
    assert {item.kind for item in store.batch("ann")} == {"likely"}
    second = desk.similar("ann", likely.token)  # the text on the screen stays, marked as it was
    assert (row_of(second), second.batch) == (row_of(likely), "likely")
    after = desk.label("ann", second.token, 1)
    assert after.batch == "similar"
    assert store.latest_items()[row_of(likely)].kind == "likely"
    back = desk.back("ann", after.token)
    assert (back.batch, store.batch("ann"), row_of(back)) == ("", [], row_of(first))


def test_from_a_text_that_was_decided_on_the_batch_comes_at_once(desk):
    store = desk.session.store
    first = desk.next("ann")
    desk.label("ann", first.token, 1)
    again = desk.again("ann", store.decisions("ann")[0]["number"])
    screen = desk.similar("ann", again.token)
    assert (screen.batch, row_of(screen)) == ("similar", store.batch("ann")[0].row)
    again = desk.again("ann", store.decisions("ann")[0]["number"])
    assert row_of(desk.back("ann", again.token)) == row_of(screen)  # which leaves the text, not the batch


def test_held_out_accuracy_is_that_of_the_held_out_texts_whatever_is_asked_for(desk, truth):
    session = desk.session
    label_some(session, truth, 15)
    train_round(session)
    before = progress_of(session).accuracy
    for label in (0, 1):
        screen = desk.likely("ann", label)
        while screen.batch:
            screen = desk.label("ann", screen.token, truth[row_of(screen)])
    asked_for = {row for row, item in session.store.latest_items().items() if item.kind == "likely"}
    assert (len(asked_for), asked_for & set(session.held_out.tolist())) == (2 * BATCH, set())
    assert progress_of(session).accuracy == before


def test_each_classs_recall_is_that_of_its_held_out_texts(desk, truth):
    session = desk.session
    label_some(session, truth, 15)
    session.store.add_labels([(row, truth[row], "ann") for row in session.held_out.tolist()])
    train_round(session)
    with Session(session.folder) as again:
        held_out = again.held_out.tolist()
        predicted = (
            Classifier.load(again.folder / "model").probabilities([again.text(r) for r in held_out]).argmax(axis=1)
        )
        recall = progress_of(again).recall
    for place, name in enumerate(again.class_names):
        right = [p == place for p, row in zip(predicted.tolist(), held_out, strict=True) if truth[row] == place]
        assert (recall[name].value, recall[name].n) == (sum(right) / len(right), len(right))


def test_an_export_names_the_class_that_was_asked_for(desk):
    item = QueueItem(3, "likely", {"strategy": "likely", "class": 1, "chance": 0.9, "likeliest": [1, 0]})
    told = told_of(desk.session, item)
    assert told["reason"] == {"kind": "likely", "strategy": "likely", "class": "pos", "chance": 0.9}
