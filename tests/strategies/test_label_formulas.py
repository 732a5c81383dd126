"""Strategies' formulas where a text has any number of labels, against autograd, differences and sums over sets."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from encoder_cases import tiny_model
from scipy.special import expit
from strategy_cases import features_of, logits_of, model_for, odd_pool, pool_of, reasons_by_row
from torch.nn import functional

from dami_text.data.pool import Pool
from dami_text.data.texts import FeatureTexts
from dami_text.interpretation.word_gradients import interpret
from dami_text.models.inference import predict_probabilities
from dami_text.models.last_layer import UNSEEN
from dami_text.models.mlp import MLPConfig, MLPForSequenceClassification
from dami_text.models.regions import FeatureRows, fit_regions
from dami_text.models.word_level import MULTILABEL
from dami_text.randomness import hashed_noise
from dami_text.strategies import (
    Badge,
    Bald,
    Cal,
    Dami,
    DropQuery,
    Egl,
    EglWord,
    ExpectedErrors,
    Lci,
    Positives,
    ProbCover,
    Representation,
    probcover,
)
from dami_text.strategies.gradient_lengths import expected_gradient_lengths
from dami_text.strategies.lci import separation

KINDS, LABELS = ("cnn", "bilstm"), (1, 3, 20)
on_labels = pytest.mark.parametrize("n_labels", LABELS)
on_models = pytest.mark.parametrize("kind", KINDS)


def model_of(kind, pool, n_labels, **options):
    """A small model in double precision, which predicts each label for about half of the texts."""
    model = model_for(kind, pool, n_labels, problem_type=MULTILABEL, **options)
    with torch.no_grad():
        model.classifier.bias -= torch.stack([logits_of(model, pool, row) for row in pool.unlabeled]).mean(dim=0)
    return model


def rng():
    return np.random.default_rng(0)


def all_of(strategy, model, pool):
    """The scores of all unlabelled texts, in the pool's order."""
    found = reasons_by_row(strategy.query(model, pool, len(pool.unlabeled), rng()))
    return [found[row] for row in pool.unlabeled.tolist()]


def all_logits(model, pool):
    """The logits (n, C) of the unlabelled texts, one after another."""
    with torch.no_grad():
        return np.array([logits_of(model, pool, row).tolist() for row in pool.unlabeled])


def set_probabilities(logits):
    """Each set of labels with its probability, by the logits (C,) of independent labels."""
    p = expit(logits)
    return {given: float(np.prod(np.where(given, p, 1 - p))) for given in product((0, 1), repeat=len(logits))}


# Gradients --------------------------------------------------------------------------------------------------------


def gradients(model, pool, row, parameters, labels, c=None):
    """The gradients of the loss with these labels: of label c alone, or the sum over all."""
    logits = logits_of(model, pool, row)
    part = slice(None) if c is None else slice(c, c + 1)
    wanted = torch.tensor(labels, dtype=logits.dtype)[part]
    loss = functional.binary_cross_entropy_with_logits(logits[part], wanted, reduction="sum")
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def length(found):
    return math.sqrt(sum(float(each.square().sum()) for each in found if each is not None))


def label_by_label(model, pool, row, parameters):
    """The mean over labels of the expected length of the gradient of the label's loss."""
    p = torch.sigmoid(logits_of(model, pool, row)).tolist()

    def expected(c):
        without, with_it = (length(gradients(model, pool, row, parameters, [y] * len(p), c)) for y in (0, 1))
        return (1 - p[c]) * without + p[c] * with_it

    return np.mean([expected(c) for c in range(len(p))])


@on_labels
@on_models
@pytest.mark.parametrize("which", ["all", "head"])
def test_expected_gradient_length_label_by_label(kind, n_labels, which):
    pool = odd_pool(16)
    model = model_of(kind, pool, n_labels)
    parameters = list((model if which == "all" else model.classifier).parameters())
    expected = [label_by_label(model, pool, row, parameters) for row in pool.unlabeled]
    assert all_of(Egl(which), model, pool) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n_labels", [1, 3])
def test_it_bounds_the_expected_length_for_whole_sets(n_labels):
    pool = odd_pool(16)
    model = model_of("cnn", pool, n_labels)
    parameters = list(model.parameters())
    for row, score in zip(pool.unlabeled, all_of(Egl("all"), model, pool), strict=True):
        sets = set_probabilities(logits_of(model, pool, row).detach().numpy())
        exact = sum(p * length(gradients(model, pool, row, parameters, given)) for given, p in sets.items())
        assert exact <= n_labels * score * (1 + 1e-6)
        if n_labels == 1:
            assert exact == pytest.approx(score, rel=1e-5)


def test_expected_gradient_length_of_an_encoder():
    pool = odd_pool(12, kind="bert")
    model = tiny_model("bert", 3, problem_type=MULTILABEL).double()
    found = expected_gradient_lengths(model, pool.texts.collate(np.arange(4)))
    expected = [label_by_label(model, pool, row, list(model.parameters())) for row in range(4)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


@on_labels
@on_models
def test_egl_word_label_by_label(kind, n_labels):
    pool = odd_pool(16)
    model = model_of(kind, pool, n_labels)
    expected = []
    for row in pool.unlabeled:
        p = torch.sigmoid(logits_of(model, pool, row)).tolist()
        of_words = torch.zeros(len(model.embedding.weight), dtype=torch.float64)
        for c in range(n_labels):
            for y, probability in ((0, 1 - p[c]), (1, p[c])):
                (gradient,) = gradients(model, pool, row, [model.embedding.weight], [y] * n_labels, c)
                of_words += probability * gradient.norm(dim=1) / n_labels
        words = [word for word in pool.texts.token_ids(row).tolist() if word not in pool.texts.special_ids]
        expected.append(max((float(of_words[word]) for word in words), default=0))
    assert all_of(EglWord(), model, pool) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@on_labels
@on_models
def test_badge_against_autograd(kind, n_labels):
    """The gradients' norms, and distances to those chosen before, by gradients of the last layer's weights."""
    pool = odd_pool(24)
    model = model_of(kind, pool, n_labels)
    query = Badge().query(model, pool, len(pool.unlabeled), rng())
    found = {}
    for row in pool.unlabeled.tolist():
        predicted = (logits_of(model, pool, row) > 0).long().tolist()
        (found[row],) = gradients(model, pool, row, [model.classifier.weight], predicted)
    norms = reasons_by_row(query, "gradient_norm")
    assert [norms[row] for row in found] == pytest.approx([float(g.norm()) for g in found.values()], rel=1e-4)
    chosen = query.rows.tolist()
    assert float(found[chosen[0]].norm()) == pytest.approx(max(norms.values()), rel=1e-6)
    for place in (1, 2, 5):
        nearest = min(float((found[chosen[place]] - found[before]).norm()) for before in chosen[:place])
        assert query.reasons[place]["distance"] == pytest.approx(nearest, rel=1e-3, abs=1e-5)


def finite_differences(model, pool, row, c, target, step=1e-6):
    """Central differences (T, D) of a label's probability or log-odds by each number of the words' embeddings."""
    embedded = model.embedding(torch.from_numpy(pool.texts.token_ids(row).astype(np.int64))).detach()
    found = torch.zeros_like(embedded)
    for t, d in np.ndindex(*embedded.shape):
        values = []
        for sign in (1, -1):
            changed = embedded.clone()
            changed[t, d] += sign * step
            with torch.no_grad():
                mask = torch.ones(1, len(changed), dtype=torch.long)
                z = float(model(inputs_embeds=changed[None], attention_mask=mask).logits[0, c])
            p = 1 / (1 + math.exp(-z))
            values.append(p if target == "probability" else math.log(p) - math.log(1 - p))
        found[t, d] = (values[0] - values[1]) / (2 * step)
    return found


@on_models
@pytest.mark.parametrize("target", ["probability", "logit"])
@pytest.mark.parametrize("target_class", ["auto", "predicted", "all"])
@pytest.mark.parametrize("n_labels", [1, 3])
def test_interpretations_against_finite_differences(kind, target, target_class, n_labels):
    pool = pool_of(["w1 w2 w3", "w4 w4 w9 w12", "w5 w7", "w8", "w1 w30 w20"])
    model = model_of(kind, pool, n_labels)
    batch = pool.texts.collate(np.arange(5))
    found = interpret(model, batch, target, target_class)
    taken = set()
    for row in range(5):
        logits = logits_of(model, pool, row).tolist()
        sure = [abs(1 / (1 + math.exp(-z)) - 0.5) for z in logits]
        unsure, likeliest = int(np.argmin(sure)), int(np.argmax(logits))
        of = {"auto": [unsure], "predicted": [likeliest], "all": range(n_labels)}[target_class]
        taken.update(of)
        expected = torch.cat([finite_differences(model, pool, row, c, target) for c in of], dim=-1)
        np.testing.assert_allclose(found[row, : len(expected)], expected, atol=1e-6 * float(expected.abs().max()))
    assert len(taken) == 1 if n_labels == 1 else len(taken) > 1


def test_a_label_without_texts_has_no_interpretation():
    pool = odd_pool()
    model = model_of("cnn", pool, 3)
    model.classifier.bias.data[1] = UNSEEN
    for word in ("deviation", "norm"):
        found = Representation(target_class="all", word=word).of_unlabeled(model, pool, rng())
        assert found.representations.shape == (len(pool.unlabeled), 2 * 5)
    assert len(Dami(representation=Representation()).query(model, pool, 5, rng()).rows) == 5


def test_the_network_of_a_frozen_encoder_learns_labels():
    """Of two numbers, one label is the sign of the first and the other that of their product."""
    features = FeatureTexts(rng().uniform(-5, 5, (900, 2)).astype(np.float32))
    labels = np.stack([features.features[:, 0] > 0, features.features.prod(axis=1) > 0], axis=1).astype(np.int64)
    rows = FeatureRows(features)
    torch.manual_seed(0)
    network = MLPForSequenceClassification(MLPConfig(2, num_labels=2, problem_type=MULTILABEL))
    fit_regions(network, rows.collate(np.arange(600)), labels[:600])
    with torch.no_grad():
        found = network(**rows.collate(np.arange(600, 900)).inputs).logits > 0
    assert ((found.numpy() == labels[600:]).mean(axis=0) > 0.95).all()


# Probabilities ----------------------------------------------------------------------------------------------------


def bernoulli_entropy(p):
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


@on_labels
@on_models
def test_bald_against_a_loop(kind, n_labels):
    pool = odd_pool()
    model = model_of(kind, pool, n_labels, dropout=0.5)
    features = features_of(model, pool, pool.unlabeled)
    weight, bias = model.classifier.weight.detach().numpy(), model.classifier.bias.detach().numpy()
    seed = int(rng().integers(2**63))
    expected = []
    for row, h in zip(pool.unlabeled, features, strict=True):
        noise = hashed_noise(seed, pool.texts.keys(np.array([row])), 7 * len(h)).reshape(7, len(h))
        p = expit([weight @ np.where(noise[s] >= 32_768, 2 * h, 0) + bias for s in range(7)])  # (7, C)
        information = [
            bernoulli_entropy(p[:, c].mean()) - np.mean([bernoulli_entropy(each) for each in p[:, c]])
            for c in range(n_labels)
        ]
        expected.append(np.mean(information))
    assert all_of(Bald(7), model, pool) == pytest.approx(expected, abs=1e-5)
    assert max(expected) > 0.01


def test_bald_by_passes_through_an_encoder():
    """With dropout that leaves all as it is, samples agree; with the encoder's own, those of each label do not."""
    pool = odd_pool(kind="bert")
    model = tiny_model("bert", 3, problem_type=MULTILABEL)
    assert min(all_of(Bald(4), model, pool)) > 0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 1e-9
    assert all_of(Bald(4), model, pool) == pytest.approx([0] * len(pool.unlabeled), abs=1e-9)


@pytest.mark.parametrize("n_labels", [1, 3])
@on_models
def test_cal_against_divergences_of_sets(kind, n_labels):
    pool = odd_pool(40)
    pool = Pool(pool.texts, np.arange(0, 40, 4))
    pool = pool.without([row for row in range(40) if not len(pool.texts.token_ids(row))])
    model = model_of(kind, pool, n_labels)
    labeled, unlabeled = (features_of(model, pool, rows) for rows in (pool.labeled, pool.unlabeled))
    theirs = [set_probabilities(logits_of(model, pool, row).detach().numpy()) for row in pool.labeled]
    expected = []
    for i, row in enumerate(pool.unlabeled):
        own = set_probabilities(logits_of(model, pool, row).detach().numpy())
        nearest = sorted(range(10), key=lambda j: np.linalg.norm(unlabeled[i] - labeled[j]))[:10]
        expected.append(np.mean([sum(p * math.log(p / own[y]) for y, p in theirs[j].items()) for j in nearest]))
    assert all_of(Cal(), model, pool) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@on_labels
def test_dropquery_counts_changed_sets(n_labels):
    pool = odd_pool()
    model = model_of("cnn", pool, n_labels)
    features, logits = features_of(model, pool, pool.unlabeled), all_logits(model, pool)
    weight, bias = model.classifier.weight.detach().numpy(), model.classifier.bias.detach().numpy()
    seed = int(rng().integers(2**63))
    expected = []
    for row, h, z in zip(pool.unlabeled, features, logits, strict=True):
        noise = hashed_noise(seed, pool.texts.keys(np.array([row])), 3 * len(h)).reshape(3, len(h))
        samples = [weight @ (4 * h * (each >= 49_152)) + bias for each in noise]
        expected.append(sum(int(((sample > 0) != (z > 0)).any()) for sample in samples))
    query = DropQuery().query(model, pool, len(pool.unlabeled), rng())
    found = reasons_by_row(query, "changed_predictions")
    assert [found[row] for row in pool.unlabeled.tolist()] == expected
    assert max(expected) == 3


@pytest.mark.parametrize("n_labels", [1, 3])
def test_expected_errors_are_those_of_sets(n_labels):
    pool = odd_pool()
    model = model_of("cnn", pool, n_labels)
    wrong = []
    for z in all_logits(model, pool):
        sets = set_probabilities(z)
        wrong.append(1 - max(sets.values()))  # of independent labels, the likeliest set is that of each above one half
    assert all_of(ExpectedErrors(), model, pool) == pytest.approx(wrong, rel=1e-5)
    query = ExpectedErrors().query(model, pool, 3, rng())
    assert query.details["candidates"] == max(6, round(sum(wrong)))


@on_labels
def test_positives_are_likeliest_for_the_label(n_labels):
    pool = odd_pool()
    model = model_of("cnn", pool, n_labels)
    p = predict_probabilities(model, pool.texts, pool.unlabeled)
    rarest = int(p.mean(axis=0).argmin())
    for name, c in (("LABEL_0", 0), (None, rarest)):
        query = Positives(name).query(model, pool, 4, rng())
        assert query.rows.tolist() == pool.unlabeled[np.argsort(-p[:, c], kind="stable")[:4]].tolist()
        assert query.details == {"positive_class": f"LABEL_{c}"}


def test_probcover_has_a_cluster_for_each_label_told_and_one_for_none(monkeypatch):
    pool, asked = odd_pool(), []
    model = model_of("cnn", pool, 3)
    radius = probcover.pure_radius

    def watched(features, n_classes, rng):
        asked.append(n_classes)
        return radius(features, n_classes, rng)

    monkeypatch.setattr(probcover, "pure_radius", watched)
    for told in (3, 2):
        ProbCover().query(model, pool, 4, rng())
        assert asked.pop() == told + 1
        model.classifier.bias.data[0] = UNSEEN


# Labels that were told --------------------------------------------------------------------------------------------


@on_labels
def test_lci_against_a_loop(n_labels):
    pool = odd_pool()
    model = model_of("cnn", pool, n_labels)
    told = (rng().random((len(pool.labeled), n_labels)) < 0.4).astype(np.int64)
    told[0] = 1 - told[0]
    pool = Pool(pool.texts, pool.labeled, told)
    cardinality = sum(int(row.sum()) for row in told) / len(told)
    expected = []
    for z in all_logits(model, pool):
        positive, negative = [v for v in z if v > 0], [v for v in z if v <= 0]
        margin = min(positive, default=0) - max(negative, default=0)
        expected.append(math.sqrt(abs(len(positive) - cardinality) / margin))
    assert all_of(Lci(), model, pool) == pytest.approx(expected, rel=1e-4)
    counts = reasons_by_row(Lci().query(model, pool, len(pool.unlabeled), rng()), "predicted_labels")
    assert [counts[row] for row in pool.unlabeled.tolist()] == (all_logits(model, pool) > 0).sum(axis=1).tolist()


def test_separation_by_hand():
    """Where no label is predicted, or all are, 0 stands for those that are missing."""
    found = separation(np.array([[2, 0.5, -0.3], [-1, -2, -4], [3, 1, 2], [0, 0, 0]]))
    assert found == pytest.approx([0.8, 1, 1, 1e-6])
