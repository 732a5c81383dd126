"""DAMI on a frozen encoder: by its features through a small ReLU network, or by words through the whole encoder."""

import json

import numpy as np
import pytest
import torch
from encoder_cases import save_encoder
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from dami_text.cli import run as cli
from dami_text.clustering import KMedoids
from dami_text.config.run import RunConfig
from dami_text.data.texts import FeatureTexts
from dami_text.errors import ConfigError
from dami_text.interpretation.word_gradients import interpret
from dami_text.learning.factory import make_learner
from dami_text.models.mlp import MLPConfig, MLPForSequenceClassification
from dami_text.models.regions import FeatureRows, fit_regions, in_fewer_numbers, regions_of
from dami_text.strategies.dami import Dami, Representation
from dami_text.strategies.dami_kcenter import DamiKCenter

ADJECTIVES = ("good", "great", "lively", "fresh", "bad", "dull", "boring", "stale")
TEXTS = [f"the {noun} is {word}" for noun in ("plot", "cast", "film", "music", "camera") for word in ADJECTIVES]
LABELS = [int(i % len(ADJECTIVES) < 4) for i in range(len(TEXTS))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def learner_of(folder, **options):
    learner = make_learner(TEXTS, ["neg", "pos"], RunConfig.of(model=str(folder), freeze_encoder=True, **options))
    learner.tell(list(range(12)), LABELS[:12])
    return learner


def test_the_network_finds_the_regions_that_a_linear_head_cannot():
    """The sign of a product: K-medoids of its gradients finds the four sectors, in which one sign is linear."""
    rng = np.random.default_rng(0)
    features = FeatureTexts(rng.uniform(-5, 5, (1200, 2)).astype(np.float32))
    labels = (features.features.prod(axis=1) > 0).astype(np.int64)
    rows = FeatureRows(features)
    torch.manual_seed(0)
    network = MLPForSequenceClassification(MLPConfig(2, num_labels=2))
    fit_regions(network, rows.collate(np.arange(600)), labels[:600])
    batch = rows.collate(np.arange(600, 1200))
    with torch.no_grad():
        right = network(**batch.inputs).logits.argmax(dim=1).numpy() == labels[600:]
    assert right.mean() > 0.95
    gradients = interpret(network, batch, "logit")[:, 0].numpy()
    found = KMedoids(4, random_state=np.random.default_rng(0)).fit(gradients).labels_
    x, y = features.features[600:].T
    assert adjusted_rand_score(np.argmax([x, y, -x, -y], axis=0), found) > 0.3


def test_features_are_centred_and_of_mean_square_length_one():
    features = np.random.default_rng(0).normal(3, 2, (500, 6)).astype(np.float32)
    rows = FeatureRows(FeatureTexts(features)).collate(np.arange(500)).input_ids.squeeze(1).numpy()
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    assert np.square(rows).sum(axis=1).mean() == pytest.approx(1, abs=1e-4)
    assert FeatureTexts(np.ones((3, 2), np.float32)).spread == 1.0


def test_a_frozen_encoder_is_differentiated_by_its_features(folder):
    learner = learner_of(folder)
    model = learner.trained_model()
    network = regions_of(model)
    found = Representation().of_unlabeled(model, learner.pool, np.random.default_rng(0))
    rows = FeatureRows(learner.pool.texts.frozen_features)
    expected = interpret(network, rows.collate(learner.pool.unlabeled))[:, 0]
    np.testing.assert_allclose(found.representations, expected.numpy(), atol=1e-6)
    assert len(np.unique(found.representations.round(6), axis=0)) > 1  # a linear head has one
    query = learner.ask(5)
    assert {reason["word"] for reason in query.reasons} == {None}
    assert sum(reason["cluster_size"] for reason in query.reasons) == len(learner.pool.unlabeled)
    (weights,) = learner.strategy.explain(model, learner.pool.texts, query.rows[:1])
    assert len(weights) == 4  # the words of the text
    assert (weights > 0).all()


def test_words_through_the_whole_encoder_are_an_option(folder):
    learner = learner_of(folder, interpretation_source="words")
    model = learner.trained_model()
    assert regions_of(model) is None
    reasons = learner.ask(5).reasons
    words = {word for text in TEXTS for word in text.split()}
    assert {reason["word"] for reason in reasons} <= words
    assert learner_of(folder, strategy="margin").trained_model().config.regions is False


def test_k_center_on_features(folder):
    learner = learner_of(folder, strategy="dami-kcenter")
    assert isinstance(learner.strategy, DamiKCenter)
    assert {reason["word"] for reason in learner.ask(5).reasons} == {None}


def test_the_network_is_saved_beside_the_head_and_read_again(folder, tmp_path):
    from transformers import AutoModelForSequenceClassification

    learner = learner_of(folder)
    learner.save_pretrained(tmp_path / "model")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    for name, weight in learner.trained_model().state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight)
    # The network is drawn anew in every round.
    first = regions_of(learner.trained_model()).hidden[0].weight.clone()
    learner.tell([12, 13], LABELS[12:14])
    assert not torch.equal(regions_of(learner.trained_model()).hidden[0].weight, first)


def test_a_model_without_the_network_is_differentiated_by_words(folder):
    learner = learner_of(folder, strategy="margin")
    found = Dami().query(learner.trained_model(), learner.pool, 3, np.random.default_rng(0))
    assert all(reason["word"] is not None for reason in found.reasons)


def test_a_run_goes_on_where_it_stopped(folder, reviews, tmp_path):
    sizes = ["--initial-size", "12", "--query-size", "6", "--budget", "24", "--freeze-encoder"]
    command = ["--dataset", str(reviews), "--model", str(folder), *sizes]
    for name in ("run", "interrupted"):
        assert cli.run_al([*command, "--output-dir", str(tmp_path / name)]) == 0
    lines = (tmp_path / "interrupted" / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "interrupted" / "rounds.jsonl").write_text(lines[0] + "\n")
    assert cli.run_al([*command, "--output-dir", str(tmp_path / "interrupted")]) == 0
    for name in ("queries.jsonl", "model/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "interrupted" / name).read_bytes()
    assert json.loads((tmp_path / "run" / "queries.jsonl").read_text().splitlines()[-1])["word"] is None


def test_features_need_a_frozen_encoder():
    with pytest.raises(ConfigError, match="features needs the features of a frozen encoder; add freeze_encoder"):
        RunConfig.of(interpretation_source="features")


@pytest.mark.parametrize("n_classes", [1, 3])
def test_gradients_in_fewer_numbers_have_the_same_distances(n_classes):
    torch.manual_seed(0)
    network = MLPForSequenceClassification(MLPConfig(40, num_labels=3))
    features = torch.randn(50, 1, 40, requires_grad=True)
    logits = network(features).logits
    parts = [torch.autograd.grad(logits[:, c].sum(), features, retain_graph=True)[0][:, 0] for c in range(n_classes)]
    gradients = torch.cat(parts, dim=1).numpy()
    found = in_fewer_numbers(gradients, network)
    assert found.shape == (50, 16 * n_classes)
    np.testing.assert_allclose(cdist(found, found), cdist(gradients, gradients), atol=1e-5)
    np.testing.assert_allclose(cdist(found, found, "cosine"), cdist(gradients, gradients, "cosine"), atol=1e-5)
    small = MLPForSequenceClassification(MLPConfig(4, num_labels=2))
    assert np.array_equal(in_fewer_numbers(gradients[:, :4], small), gradients[:, :4])
