import numpy as np
import pytest
import torch
from labeling_cases import FAST, label_some, make_session, texts_without_labels
from scipy.stats import binom, norm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dami_text import RunConfig, make_learner
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError, TrainingError
from dami_text.labeling.final import train_final
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.progress import (
    Agreement,
    Proportion,
    agreements,
    held_out_hits,
    progress_of,
)
from dami_text.labeling.rounds import learner_with_labels, train_round, word_weights
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.store.queues import RoundRecord
from dami_text.learning.projected_gain import projected_gain
from dami_text.models.inference import predict_probabilities
from dami_text.strategies import Dami


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


@pytest.fixture
def session(tmp_path, truth):
    return make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami")


# One round ------------------------------------------------------------------------------------------------------


def test_a_round_asks_for_rows_that_nobody_has_decided_on_and_no_training_sees_what_is_held_out(session, truth):
    label_some(session, truth, 11)
    shown, _ = session.store.next("ann", 60)
    session.store.decide(shown, "ann", "skip")
    decided = {row["row"] for row in session.store.labels()} | {shown.row}
    held_out = set(session.held_out.tolist())

    now = LabelSnapshot.of(session)
    assert (len(now.all), set(now.rows)) == (11, decided - held_out - {shown.row})
    record = train_round(session)
    assert (record.number, record.n_labeled, record.through) == (0, 11, 12)
    assert record.details["n_trained_on"] == len(now.rows)

    queue = session.store.queue(1)
    rows = [item.row for item in queue]
    assert len(rows) == len(set(rows)) == 5 + 10
    assert decided.isdisjoint(rows)
    assert [item.kind for item in queue[5:]] == ["reserve"] * 10
    assert all((item.row in held_out) == (item.kind == "held-out") for item in queue)
    assert label_some(session, truth, 2) == rows[:2]


def test_a_round_depends_on_the_labels_alone(tmp_path, truth):
    queues, predictions = [], []
    for name in ("one", "two"):
        session = make_session(tmp_path / "texts.csv", tmp_path / f"{name}.dami")
        label_some(session, truth, 12, annotator=name)
        predictions.append(train_round(session).predictions)
        queues.append([(item.row, item.kind, item.reason) for item in session.store.queue(1)])
    assert queues[0] == queues[1]
    assert predictions[0] == predictions[1]


def test_the_informative_word_is_the_one_of_the_largest_deviation(session, truth):
    label_some(session, truth, 12)
    train_round(session)
    asked = [item for item in session.store.queue(1) if item.kind in ("asked", "reserve")]
    for item in asked:
        text, shades = session.text(item.row), item.reason["shades"]
        start, end, deviation = max(shades, key=lambda shade: shade[2])
        assert item.reason["deviation"] == pytest.approx(deviation, rel=1e-4)
        assert text[start:end] == item.reason["word"] or deviation == pytest.approx(sorted(s[2] for s in shades)[-2])
        assert "".join(text[s:e] for s, e, _ in shades) == text.replace(" ", "")
    assert len(asked) == 14 or len(asked) == 15


def test_deviations_are_squared_distances_to_the_mean_interpretation(session, truth):
    """By autograd, text by text, without the code of interpretation and aggregation."""
    label_some(session, truth, 12)
    learner = learner_with_labels(session, LabelSnapshot.of(session))
    learner.ask(4)
    model, pool = learner.model.eval(), learner.pool

    def gradients(row):
        ids = torch.from_numpy(learner.pool.texts.token_ids(row).astype(np.int64))[None]
        embeddings = []
        hook = model.embedding.register_forward_hook(
            lambda module, inputs, output: embeddings.append(output.detach().requires_grad_()) or embeddings[-1]
        )
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        hook.remove()
        (gradient,) = torch.autograd.grad(logits.softmax(-1)[0, 1], embeddings[0])
        return gradient[0].double().numpy()

    mean = np.mean([gradients(row).mean(axis=0) for row in pool.unlabeled], axis=0)
    row = int(pool.unlabeled[5])
    wanted = np.square(gradients(row) - mean).sum(axis=1)
    (shades,) = word_weights(learner.strategy, model, learner.pool.texts, np.array([row]))
    found = [shade[2] for shade in shades]
    assert found == pytest.approx(wanted.tolist(), rel=1e-3)


def test_punctuation_is_not_shaded_unless_a_text_is_nothing_else():
    texts = ["so - good !", "! ...", "", "good"]
    learner = make_learner(texts, ["neg", "pos"], RunConfig.of(**FAST, min_document_frequency=1))
    learner.tell([3], [1])
    learner.ask(1)
    places = [
        [shade[:2] for shade in shades]
        for shades in word_weights(learner.strategy, learner.model, learner.pool.texts, np.arange(3))
    ]
    assert places == [[[0, 2], [5, 9]], [[0, 1], [2, 5]], []]


def test_the_saved_model_gives_the_recorded_predictions(session, truth):
    label_some(session, truth, 12)
    record = train_round(session)
    model = AutoModelForSequenceClassification.from_pretrained(session.folder / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(session.folder / "model")
    texts = [session.text(row) for row in session.held_out]
    with torch.no_grad():
        logits = model(
            **{
                k: v
                for k, v in tokenizer(texts, padding=True, return_tensors="pt").items()
                if k in ("input_ids", "attention_mask")
            }
        ).logits
    assert np.frombuffer(record.predictions, "<u2").tolist() == logits.argmax(-1).tolist()
    assert model.config.id2label == {0: "neg", 1: "pos"}


def test_a_subsample_of_the_pool_is_asked(tmp_path, truth):
    session = make_session(tmp_path / "texts.csv", tmp_path / "few.dami", pool_subsample=30)
    label_some(session, truth, 12)
    record = train_round(session)
    assert record.details["query"]["considered"] == 30
    held_out = set(session.held_out.tolist())
    assert all((item.row in held_out) == (item.kind == "held-out") for item in session.store.queue(1))


def test_a_cold_start_chooses_the_first_texts(tmp_path, truth):
    session = make_session(tmp_path / "texts.csv", tmp_path / "means.dami", cold_start="kmeans-features")
    queue = session.store.queue(0)
    assert len({item.row for item in queue}) == len(queue) == 20
    first = [item for item in queue[:10] if item.kind == "asked"]
    assert len(first) == 9
    assert all(item.reason["strategy"] == "kmeans-features" and item.reason["cluster_size"] >= 1 for item in first)
    assert {item.row for item in first}.isdisjoint(session.held_out.tolist())


def test_a_trained_model_chooses_the_first_texts(tmp_path, session, truth):
    label_some(session, truth, 12)
    train_final(session, tmp_path / "model")
    again = make_session(tmp_path / "texts.csv", tmp_path / "again.dami", init_model=str(tmp_path / "model"))
    first = [item for item in again.store.queue(0)[:10] if item.kind == "asked"]
    assert len(first) == 9
    assert all(item.reason["word"] in again.text(item.row) for item in first)


def test_a_cold_start_that_cannot_work_leaves_nothing_behind(tmp_path, truth):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="--cold-start balanced needs the labels"):
        make_session(tmp_path / "texts.csv", tmp_path / "bad.dami", cold_start="balanced")
    assert sorted(tmp_path.iterdir()) == before


def test_without_a_label_to_train_on_there_is_one_error(session):
    with pytest.raises(TrainingError, match="no labelled text to train on"):
        train_round(session)
    assert session.store.rounds() == []


def test_other_strategies_ask_too(tmp_path, truth):
    session = make_session(tmp_path / "texts.csv", tmp_path / "margin.dami", strategy="margin")
    label_some(session, truth, 12)
    train_round(session)
    item = session.store.queue(1)[0]
    assert item.reason["strategy"] == "margin"
    text = session.text(item.row)
    assert "".join(text[start:end] for start, end, _ in item.reason["shades"]) == text.replace(" ", "")
    assert max(weight for *_, weight in item.reason["shades"]) > 0  # what the prediction depends on
    assert 0 <= item.reason["score"] <= 1 or item.reason["score"] < 0


def test_a_pool_can_be_labelled_to_its_end(tmp_path, reviews, monkeypatch):
    file, truth = texts_without_labels(reviews, tmp_path, 30)
    session = make_session(file, tmp_path / "small.dami")
    desk = Desk(session)
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    screen = desk.next("ann")
    while screen.token != "-":
        screen = desk.label("ann", screen.token, truth[int(screen.token.partition(".")[0])])
        if len(session.store.labels()) in (10, 20, 28):
            train_round(session)
    assert screen.text == [("All texts are labelled. Thank you!", None)]
    assert len(session.store.labels()) == 30


# The final model -----------------------------------------------------------------------------------------------------


def test_the_final_model_is_trained_on_all_labels_but_those_held_out(session, truth, tmp_path):
    label_some(session, truth, 15)
    final = train_final(session, tmp_path / "model")
    held_out = set(session.held_out.tolist()) & {row["row"] for row in session.store.labels()}
    assert (final.n_labeled, final.n_texts, final.n_trained_on) == (15, 300, 15 - len(held_out))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert model.config.label2id == {"neg": 0, "pos": 1}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    right = 0
    for row in held_out:
        inputs = tokenizer([session.text(row)], return_tensors="pt")
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        right += int(logits.argmax()) == truth[row]
    assert (final.accuracy.value, final.accuracy.n) == (right / len(held_out), len(held_out))


def test_a_final_model_that_fails_leaves_nothing_behind(session, truth, tmp_path, monkeypatch):
    label_some(session, truth, 5)
    monkeypatch.setattr("dami_text.labeling.final.model_card", lambda facts: 1 / 0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        train_final(session, tmp_path / "model")
    assert sorted(tmp_path.iterdir()) == before


# Progress -------------------------------------------------------------------------------------------------------


def wilson(successes, n):
    z, p = norm.ppf(0.975), successes / n
    center, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (center - half) / (1 + z * z / n), (center + half) / (1 + z * z / n)


@pytest.mark.parametrize(("successes", "n"), [(0, 3), (7, 10), (50, 50), (1, 1)])
def test_intervals_are_wilsons(successes, n):
    found = Proportion.of(successes, n)
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == pytest.approx(wilson(successes, n), abs=1e-9)


def test_labels_that_were_undone_since_a_round_are_no_negative_number(session, truth):
    rows = label_some(session, truth, 10)
    session.store.finish_round(
        RoundRecord(
            number=0, through=10, n_labeled=10, time="", details={}, predictions=bytes(2 * len(session.held_out))
        ),
        [],
    )
    session.store.undo("ann", session.store.last_event(), 60)
    assert (progress_of(session).n_labeled, progress_of(session).n_since_round) == (len(rows) - 1, 0)


def test_accuracy_is_measured_on_held_out_labels_for_all_rounds_alike(session):
    held_out = session.held_out
    for number, right in enumerate((1, 3)):  # rounds that predict class 1 for the first held-out texts, else 0
        predictions = np.zeros(len(held_out), "<u2")
        predictions[:right] = 1
        session.store.finish_round(
            RoundRecord(
                number=number,
                through=0,
                n_labeled=10 * (number + 1),
                time="",
                details={},
                predictions=predictions.tobytes(),
            ),
            [],
        )
    assert progress_of(session).accuracy is None
    session.store.add_labels((int(row), 1, "ann") for row in held_out[:4])
    session.store.add_labels([(int(np.setdiff1d(np.arange(300), held_out)[0]), 0, "ann")])
    labels = {row["row"]: row["label"] for row in session.store.labels()}
    assert held_out_hits(session, labels, session.store.rounds()).tolist() == [
        [True, False, False, False],
        [True, True, True, False],
    ]
    done = progress_of(session)
    assert done.curve == [(10, 0.25), (20, 0.75)]
    assert (done.accuracy.value, done.accuracy.n, done.gain) == (0.75, 4, None)
    assert (done.n_labeled, done.by_class, done.by_annotator) == (5, {"neg": 1, "pos": 4}, {"ann": 5})


def test_the_projected_gain_is_that_of_the_curve_behind_the_accuracies():
    sizes = np.array([25, 50, 100, 200, 400])
    n_texts = 2_000_000
    accuracies = 0.9 - 2.0 * sizes**-0.8
    hits = np.arange(n_texts) < np.round(accuracies * n_texts)[:, None]
    gain = projected_gain(sizes, hits, labels=100, samples=2)
    assert gain.value == pytest.approx(2.0 * (400**-0.8 - 500**-0.8), rel=1e-3)


def test_a_curve_that_does_not_rise_promises_nothing():
    hits = np.tile(np.arange(60) < 45, (5, 1))
    gain = projected_gain(np.array([20, 40, 60, 80, 100]), hits)
    assert (gain.value, gain.low) == (0, 0)
    assert 0 < gain.high < 0.1, "what the noise of training would hide"
    assert projected_gain(np.array([20, 40, 60]), hits[:3]) is None
    assert projected_gain(np.array([20, 40, 60, 80, 100]), hits[:, :49]) is None
    assert projected_gain(np.array([20, 40, 60, 80, 100]), hits[:, :50]) is not None


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_the_interval_of_an_accuracy_holds_the_truth_in_95_of_100_samples(n):
    """Exactly, by the binomial distribution, on average over accuracies; none is far below."""
    intervals = [Proportion.of(k, n) for k in range(n + 1)]
    truths = np.linspace(0.5, 0.98, 97)
    holds = np.array([[each.low <= p <= each.high for each in intervals] for p in truths])
    coverage = (binom.pmf(np.arange(n + 1), n, truths[:, None]) * holds).sum(axis=1)
    assert coverage.mean() == pytest.approx(0.95, abs=0.012)
    assert coverage.min() > 0.83


@pytest.mark.parametrize("rounds", [4, 8])
@pytest.mark.parametrize("n_texts", [50, 200])
@pytest.mark.parametrize(("noise", "lowest", "highest"), [(0.01, 0.95, 1), (0.03, 0.9, 0.99)])
def test_the_interval_of_the_gain_holds_the_truth_in_95_of_100_sessions(rounds, n_texts, noise, lowest, highest):
    """Curves of several shapes, models that scatter about them, texts that are easy or hard for all models."""
    rng, sizes = np.random.default_rng(0), 20.0 * np.arange(1, rounds + 1)
    covered = []
    for a, b, c in ((0.9, 2.0, 0.6), (0.95, 1.0, 0.3), (0.85, 4.0, 0.9), (0.8, 0.0, 0.5)):
        truth = b * (sizes[-1] ** -c - (sizes[-1] + 100) ** -c)
        for _ in range(60):
            accuracies = a - b * sizes**-c + rng.normal(0, noise, rounds)
            ease = 0.7**0.5 * rng.normal(size=n_texts) + 0.3**0.5 * rng.normal(size=(rounds, n_texts))
            gain = projected_gain(sizes, ease < norm.ppf(accuracies.clip(0.01, 0.99))[:, None])
            covered.append(gain.low <= truth <= gain.high)
    assert lowest <= np.mean(covered) <= highest


def test_the_interval_of_the_gain_narrows_with_more_held_out_texts():
    rng = np.random.default_rng(0)
    sizes = np.array([20, 40, 80, 160])
    widths = []
    for n_texts in (200, 20_000):
        hits = rng.random((4, n_texts)) < np.array([0.6, 0.7, 0.77, 0.82])[:, None]
        gain = projected_gain(sizes, hits)
        assert gain.low <= gain.value <= gain.high
        widths.append(gain.high - gain.low)
    assert widths[1] < 0.9 * widths[0], "training's noise remains"


def test_agreement_is_cohens_kappa_on_the_shared_texts(session):
    # 20 shared texts: both yes 8, both no 6, ann yes and bob no 4, the other way 2.
    pairs = [(1, 1)] * 8 + [(0, 0)] * 6 + [(1, 0)] * 4 + [(0, 1)] * 2
    session.store.add_labels((row, a, "ann") for row, (a, _) in enumerate(pairs))
    session.store.add_labels((row, b, "bob") for row, (_, b) in enumerate(pairs))
    session.store.add_labels([(200, 1, "ann"), (201, 1, "cy"), (0, 1, "cy")])
    expected = (12 * 10 + 8 * 10) / 400
    by_pair = {(a.first, a.second): a for a in agreements(session)}
    assert by_pair["ann", "bob"].kappa == pytest.approx((0.7 - expected) / (1 - expected))
    assert (by_pair["ann", "bob"].n, by_pair["ann", "bob"].observed) == (20, 0.7)
    assert by_pair["ann", "cy"] == Agreement(first="ann", second="cy", n=1, observed=1.0, kappa=None)


def test_the_strategy_is_the_sessions_own(session, truth):
    label_some(session, truth, 10)
    learner = learner_with_labels(session, LabelSnapshot.of(session))
    assert isinstance(learner.strategy, Dami)
    assert isinstance(learner.pool, Pool)
    assert learner.round == 0
    assert predict_probabilities(learner.trained_model(), learner.pool.texts, np.arange(3)).shape == (3, 2)
