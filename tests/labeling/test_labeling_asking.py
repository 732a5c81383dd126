"""The start of a session with an encoder, and texts that are nearly the same, which never come in one query."""

import numpy as np
import pytest
from encoder_cases import save_encoder
from labeling_cases import label_some
from sklearn.metrics.pairwise import cosine_similarity

from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.similarity import compared_features
from dami_text.errors import ConfigError
from dami_text.labeling import start
from dami_text.labeling.asking import ask
from dami_text.labeling.final import fine_tuning
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.rounds import create_session, learner_with_labels, train_round
from dami_text.labeling.session import Session, SessionConfig
from dami_text.labeling.snapshot import LabelSnapshot

WORDS = ["plot", "cast", "film", "music", "ending", "camera"]


def made(folder, texts, name="a", **options):
    file = folder / f"{name}.txt"
    file.write_text("\n".join(texts) + "\n")
    own = {key: options.pop(key) for key in [*options] if key in LabelingConfig.__dataclass_fields__}
    run = RunConfig.of(**{"dataset": str(file), "initial_size": 10, "query_size": 5, "strategy": "margin", **options})
    return create_session(folder / f"{name}.dami", SessionConfig(run, LabelingConfig(labels=["neg", "pos"], **own)))


@pytest.fixture
def frozen(tmp_path):
    save_encoder(tmp_path / "encoder")
    return {"model": str(tmp_path / "encoder"), "freeze_encoder": True}


@pytest.fixture
def texts():
    """Each film four times, in words that hardly differ, among others."""
    like = "the {} is good and the music is {} times great {}"
    likes = [like.format(word, i, "film " * k) for i, word in enumerate(WORDS) for k in range(4)]
    return likes + [f"a w{i} w{i + 1} w{2 * i} {'good' if i % 2 else 'bad'}" for i in range(36)]


@pytest.mark.parametrize("model", ["linear", "frozen"])
def test_no_two_texts_of_a_query_and_its_reserve_are_nearly_the_same(tmp_path, texts, frozen, model):
    options = frozen if model == "frozen" else {"model": "linear"}
    session = made(tmp_path, texts, validation_share=0.0, **options)
    label_some(session, [i % 2 for i in range(60)], 10)
    learner = learner_with_labels(session, LabelSnapshot.of(session))
    features = compared_features(learner.pool.texts)
    most = float(np.quantile(cosine_similarity(features)[np.triu_indices(60, 1)], 0.97))
    session.change(near_duplicates=most)
    train_round(session)
    rows = [item.row for item in session.store.queue(1)]
    similar = cosine_similarity(features[rows])
    assert len(rows) > 5
    assert similar[np.triu_indices(len(rows), 1)].max() < most + 1e-6
    every = ask(session, learner, 60).rows.tolist()
    left = [row for row in learner.pool.unlabeled.tolist() if row not in every]
    assert left, "there are some that are nearly the same"
    assert (cosine_similarity(features[left], features[every]).max(axis=1) >= most - 1e-6).all(), "no other is left out"
    session.change(near_duplicates=1.0)
    assert len(ask(session, learner, 60).rows) == len(learner.pool.unlabeled)


def test_a_session_of_before_lets_them_come(tmp_path, texts):
    session = made(tmp_path, texts, model="linear")
    config = (session.folder / "config.yaml").read_text().replace("near_duplicates: 0.95\n", "")
    (session.folder / "config.yaml").write_text(config)
    session.close()
    assert Session(session.folder).config.labeling.near_duplicates == 1.0


@pytest.mark.parametrize(
    ("options", "name"), [({"cold_start": "auto"}, "typical"), ({"describe": ["pos=good"]}, "described")]
)
def test_the_start_of_a_frozen_encoder_goes_by_some_of_the_texts(tmp_path, texts, frozen, monkeypatch, options, name):
    monkeypatch.setattr(start, "MOST_TEXTS", 25)
    session = made(tmp_path, texts, validation_share=0.2, **frozen, **options)
    queue = session.store.queue(0)
    first = [item for item in queue if item.kind == "asked"]
    held_out = [item.row for item in queue if item.kind == "held-out"]
    assert len(first) + len(held_out) == 10
    assert {item.reason["strategy"] for item in first} == {name}
    assert {item.reason["considered"] for item in first} == {25}
    assert not {item.row for item in first} & set(session.held_out.tolist())
    assert len({item.row for item in queue}) == len(queue)
    assert "pos" not in str(Desk(session).next("ann").why), "the page does not give a label away"


def test_long_texts_are_fewer(tmp_path, texts, frozen, monkeypatch):
    monkeypatch.setattr(start, "MOST_WORDS", 60)
    session = made(tmp_path, texts, validation_share=0.0, cold_start="typical", **frozen)
    assert {item.reason["considered"] for item in session.store.queue(0) if item.kind == "asked"} == {50}, "5 for each"


def test_what_described_the_classes_is_not_needed_after_the_start(tmp_path, texts, frozen):
    (tmp_path / "classes.yaml").write_text("pos: good\n")
    session = made(tmp_path, texts, describe=[str(tmp_path / "classes.yaml")], near_duplicates=1.0, **frozen)
    (tmp_path / "classes.yaml").unlink()
    session.rename_class("pos", "positive")
    label_some(session, [i % 2 for i in range(60)], 10)
    train_round(session)
    assert session.config.run.loop.cold_start == "described"
    tuned = fine_tuning(session.config).run
    assert (tuned.model.freeze_encoder, tuned.cold_start) == (False, "described"), "the card says how it began"


def test_auto_is_random_without_an_encoder_and_descriptions_need_one(tmp_path, texts):
    session = made(tmp_path, texts, model="linear", cold_start="auto")
    assert session.config.run.loop.cold_start == "random"
    assert {item.kind for item in session.store.queue(0)} <= {"start", "held-out"}
    with pytest.raises(ConfigError, match="--describe needs the features of a frozen encoder"):
        made(tmp_path, texts, "b", model="linear", describe=["pos=good"])
    assert not (tmp_path / "b.dami").exists()
