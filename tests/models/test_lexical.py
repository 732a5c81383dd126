"""Tokens beside a frozen encoder's features: their TF-IDF by scikit-learn, and when they are used."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import save_encoder, tiny_tokenizer
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dami_text.config.run import RunConfig
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.learning.factory import make_learner
from dami_text.models.fitted_heads import WAYS
from dami_text.models.inference import predict_both, predict_probabilities
from dami_text.models.kept_heads import give_classes
from dami_text.models.last_layer import UNSEEN
from dami_text.models.lexical import fit_with_tokens, lexical_features, lexicon_of, token_counts
from dami_text.models.logistic import Regression, Ways

TEXTS = [
    "the film is good",
    "the film is bad bad bad",
    "",
    "zzz yyy",
    "the cast is lively , the plot is dull",
    "w1 w2 w1",
]


def encoded(texts=TEXTS):
    tokenizer = tiny_tokenizer()
    return EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)


def test_the_features_are_scikit_learns_tf_idf_of_tokens_in_two_texts_or_more():
    texts, size = encoded(), len(tiny_tokenizer())
    lexicon = lexicon_of(texts, size, 3)
    counts = np.zeros((len(TEXTS), size))
    for row in range(len(TEXTS)):
        for token in texts.token_ids(row):
            counts[row, token] += 1
    np.testing.assert_array_equal(token_counts(texts, size).toarray(), counts)
    counts[:, tiny_tokenizer().all_special_ids] = 0
    known = np.flatnonzero((counts > 0).sum(axis=0) >= 2)
    assert {tiny_tokenizer().convert_ids_to_tokens(int(i)) for i in known} == {"the", "film", "is"}
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts[:, known]).toarray()
    np.testing.assert_allclose(lexical_features(lexicon, texts).toarray(), expected, atol=1e-6)


def test_the_module_gives_from_tokens_what_the_features_give():
    texts = encoded([*TEXTS, "the film , the film", "w1 is w2 , the"])
    lexicon = lexicon_of(texts, len(tiny_tokenizer()), 3)
    with torch.no_grad():
        lexicon.weight[:-1] = torch.randn(len(lexicon.idf) - 1, 3, generator=torch.Generator().manual_seed(0))
    batch = texts.collate(np.arange(len(texts)))
    expected = lexical_features(lexicon, texts) @ lexicon.weight[:-1].numpy()
    np.testing.assert_allclose(lexicon(batch.input_ids, batch.attention_mask).detach().numpy(), expected, atol=1e-5)


def fits(decisive, n=120):
    """Fits where the labels are told by the features, or by a token."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    features = rng.normal(size=(n, 8)).astype(np.float32)
    tokens = (rng.random((n, 30)) < 0.2).astype(np.float32)
    if decisive == "features":
        features[:, 0] += 6 * labels - 3
    else:
        tokens[:, 0] = labels
    lexical, mean = sparse.csr_matrix(tokens), tokens.mean(axis=0, dtype=np.float64)
    own = features.mean(axis=0, dtype=np.float64)
    alone = Regression(features, labels, 2, own, WAYS)
    fit, weights = fit_with_tokens(alone, features, own, lexical, mean, labels, 2, balanced=False)
    predicted = (features @ fit.weight.T + lexical @ weights.T + fit.bias).argmax(axis=1)
    return alone, fit, weights, (predicted == labels).mean()


def test_tokens_are_used_where_they_tell_the_labels():
    alone, fit, weights, accuracy = fits("tokens")
    assert np.abs(weights).argmax(axis=1).tolist() == [0, 0]
    assert accuracy > 0.95
    assert fit.held_out.mean() > alone.held_out.mean() + 0.2


def test_tokens_are_left_out_where_the_features_tell_the_labels():
    alone, fit, weights, accuracy = fits("features")
    assert np.array_equal(fit.weight, alone.fit().weight)
    assert not weights.any()
    assert accuracy > 0.95


def test_one_class_alone_has_no_weights():
    features, labels = np.eye(3, dtype=np.float32), np.zeros(3, np.int64)
    alone = Regression(features, labels, 2, features.mean(axis=0), Ways(5.0, 5.0))
    lexical, zeros = sparse.csr_matrix(np.eye(3, dtype=np.float32)), np.zeros(3)
    fit, weights = fit_with_tokens(alone, features, zeros, lexical, zeros, labels, 2, balanced=False)
    assert fit.bias.tolist() == [0, UNSEEN]
    assert not weights.any()


SENTENCES = [
    f"the {a} {b} is {c}" for a in ("plot", "cast") for b in ("film", "music") for c in ("good", "bad", "dull")
] * 4


@pytest.fixture
def learner(tmp_path):
    """Of sentences whose class is a word that the tiny random encoder does not know to be important."""
    config = RunConfig.of(model=str(save_encoder(tmp_path / "bert")), freeze_encoder=True, strategy="badge")
    learner = make_learner(SENTENCES, ["a", "b"], config)
    learner.tell(list(range(36)), [int("music" in text) for text in SENTENCES[:36]])
    learner.trained_model().lexicon.weight.data[:-1] = torch.randn(
        len(learner.trained_model().lexicon.idf) - 1, 2, generator=torch.Generator().manual_seed(1)
    )
    return learner


def test_features_and_texts_give_the_same_probabilities_and_so_does_what_is_saved(learner, tmp_path):
    model, texts, rows = learner.trained_model(), learner.pool.texts, np.arange(20)
    from_features = predict_probabilities(model, texts, rows)
    features, both = predict_both(model, texts, rows)
    assert features.shape == (20, 8)
    np.testing.assert_allclose(both, from_features, atol=1e-6)
    learner.save_pretrained(tmp_path / "model")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        logits = again(**tokenizer(SENTENCES[:20], padding=True, return_tensors="pt")).logits
    np.testing.assert_allclose(torch.softmax(logits, dim=-1).numpy(), from_features, atol=1e-5)
    assert len(learner.ask(3).rows) == 3


def test_classes_in_another_order_have_their_own_weights(learner):
    model, texts, rows = learner.trained_model(), learner.pool.texts, np.arange(20)
    before = predict_probabilities(model, texts, rows)
    give_classes(model, [1, 0], ["b", "a"])
    np.testing.assert_allclose(predict_probabilities(model, texts, rows), before[:, ::-1], atol=1e-6)


def test_every_round_starts_without_weights(learner):
    learner.tell([40], [0])
    model = learner.trained_model()
    assert torch.count_nonzero(model.lexicon.weight[-1]) == 0
    assert model.lexicon.places is not None
    fresh = learner.core._new_model()
    assert not fresh.lexicon.weight.any()
    torch.testing.assert_close(fresh.lexicon.idf, model.lexicon.idf)


def test_a_pool_whose_texts_share_no_token_has_no_lexicon(tmp_path):
    config = RunConfig.of(model=str(save_encoder(tmp_path / "bert")), freeze_encoder=True, strategy="margin")
    learner = make_learner(["good", "bad", "the", "music"], ["a", "b"], config)
    learner.tell([0, 1], [1, 0])
    learner.save_pretrained(tmp_path / "model")
    assert learner.trained_model().config.lexicon == 0
    assert len(learner.ask(2).rows) == 2
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
