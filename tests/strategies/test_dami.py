"""DAMI's representations and queries against Algorithm 2, one text, one class and one autograd call at a time."""

import itertools

import numpy as np
import pytest
import torch
from conftest import encode_texts, make_texts
from encoder_cases import tiny_model
from strategy_cases import CLASSES, KINDS, model_for, odd_pool, pool_of

from dami_text.data.pool import Pool
from dami_text.strategies import Dami, DamiKCenter, EglWord, Representation

TARGETS, TARGET_CLASSES = ("probability", "logit"), ("auto", "predicted", "all")


def slow_interpretations(model, pool, target, target_class):
    """Of each unlabelled text I_ij, an array (T, D) or (T, C * D), by the words' embeddings as the model's input."""
    found = []
    for row in pool.unlabeled:
        ids = torch.from_numpy(pool.texts.token_ids(row).astype(np.int64))
        embedded = model.embedding.weight[ids].detach().requires_grad_()
        logits = model(inputs_embeds=embedded[None]).logits[0]
        p = torch.softmax(logits, dim=0)
        classes = {"all": range(len(p)), "predicted": [int(p.argmax())]}
        classes["auto"] = [1] if len(p) == 2 else classes["predicted"]
        outputs = [
            p[c] if target == "probability" else torch.log(p[c]) - torch.log1p(-p[c]) for c in classes[target_class]
        ]
        gradients = [torch.autograd.grad(output, embedded, retain_graph=True)[0] for output in outputs]
        found.append(torch.cat(gradients, dim=1).numpy())
    return found


def slow_informative_words(interpretations):
    """Ibar, and of each text d_i (-1 without words), r_i and the deviation."""
    means = [text.mean(axis=0) for text in interpretations if len(text)]
    center = sum(means) / len(means)
    words, representations, deviations = [], [], []
    for text in interpretations:
        distances = [float(np.square(word - center).sum()) for word in text]
        words.append(int(np.argmax(distances)) if distances else -1)
        representations.append(text[words[-1]] if distances else np.zeros(len(center)))
        deviations.append(max(distances, default=0.0))
    return center, words, np.array(representations), deviations


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("target_class", TARGET_CLASSES)
def test_representations(kind, n_classes, target, target_class):
    pool = odd_pool(50)
    model = model_for(kind, pool, n_classes)
    interpretations = slow_interpretations(model, pool, target, target_class)
    center, words, representations, deviations = slow_informative_words(interpretations)
    found = Representation(target, target_class, batch_size=8).of_unlabeled(model, pool, np.random.default_rng(0))
    # Of a filter's window several words may have the same gradient: then either is right.
    for text, word, expected in zip(interpretations, found.words, words, strict=True):
        assert (word == expected) or np.abs(text[word] - text[expected]).max() < 1e-9
    np.testing.assert_allclose(found.representations, representations, atol=1e-5 * np.abs(representations).max())
    assert found.deviations.tolist() == pytest.approx(deviations, rel=1e-4, abs=1e-9)
    assert found.mean == pytest.approx(center, abs=1e-6 * np.abs(center).max())


def test_by_hand():
    """One filter over one word, of weight 2: the log-odds' gradient is (w_1 - w_0) 2 at the winner, 0 elsewhere."""
    pool = pool_of(["w1 w2", "w1", "w2 w2 w3 w3", ""])
    model = model_for("cnn", pool, embedding_dim=1, filter_sizes=[1], n_filters=1)
    ids = pool.texts.tokenizer.convert_tokens_to_ids(["w1", "w2", "w3"])
    with torch.no_grad():
        model.embedding.weight[ids] = torch.tensor([[1.0], [3.0], [2.0]]).double()
        model.convolutions[0].weight.fill_(2)
        model.convolutions[0].bias.fill_(1)
        model.classifier.weight.copy_(torch.tensor([[1.0], [4.0]]))
    found = Representation("logit").of_unlabeled(model, pool, np.random.default_rng(0))
    # The texts' means are 6/2, 6 and 6/4 (w2 wins once): Ibar = 3.5, so that 6 deviates by 2.5^2 and 0 by 3.5^2.
    assert found.mean.tolist() == pytest.approx([3.5])
    assert found.representations.ravel().tolist() == pytest.approx([0, 6, 0, 0])
    assert found.deviations.tolist() == pytest.approx([12.25, 6.25, 12.25, 0])
    assert found.words[[0, 1, 3]].tolist() == [0, 0, -1]
    assert found.words[2] in (1, 2, 3)


def matrix(representations, distance):
    """All distances, by loops."""

    def between(a, b):
        if distance == "euclidean":
            return np.linalg.norm(a - b)
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return 1 - a @ b / lengths if lengths else 1.0

    return np.array([[0 if a is b else between(a, b) for b in representations] for a in representations])


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("target", "distance"), [("probability", "euclidean"), ("logit", "euclidean"), ("logit", "cosine")]
)
def test_no_swap_of_a_medoid_would_be_better(kind, n_classes, target, distance):
    pool = odd_pool(50)
    model = model_for(kind, pool, n_classes)
    query = Dami(representation=Representation(target), distance=distance).query(
        model, pool, 6, np.random.default_rng(0)
    )
    representations = slow_informative_words(slow_interpretations(model, pool, target, "auto"))[2]
    with_words = [i for i, row in enumerate(pool.unlabeled) if pool.texts.lengths[row]]
    assert len(with_words) == len(pool.unlabeled) - 1, "the empty text represents nothing"
    D = matrix([representations[i] for i in with_words], distance)
    medoids = np.searchsorted(pool.unlabeled[with_words], query.rows).tolist()
    loss = D[:, medoids].min(axis=1).sum()
    for place, other in itertools.product(range(6), set(range(len(D))) - set(medoids)):
        swapped = [*medoids[:place], other, *medoids[place + 1 :]]
        assert D[:, swapped].min(axis=1).sum() > loss - 1e-4 * loss
    sizes = [reason["cluster_size"] for reason in query.reasons]
    assert sum(sizes) == len(D)
    assert sizes == sorted(sizes, reverse=True)
    for i, size in zip(medoids, sizes, strict=True):
        others = np.delete(D[:, medoids], medoids.index(i), axis=1).min(axis=1)
        assert (D[:, i] < others - 1e-6).sum() <= size <= (D[:, i] < others + 1e-6).sum()


@pytest.mark.parametrize("strategy", [Dami(), Dami(clustering="park-jun"), DamiKCenter()])
@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_texts_without_words_are_asked_for_last(kind, strategy):
    """Their representations are 0, a cluster far from all others, and the farthest point."""
    texts = make_texts(20)
    texts[3:3] = [""] * 4
    texts[10:10] = [" \t "] * 3
    without = [i for i, text in enumerate(texts) if not text.strip()]
    pool = pool_of(texts, [0, 5], kind)
    model = tiny_model("bert", 3) if kind == "bert" else model_for(kind, pool, 3)
    for n in (1, 5, 18, 19):
        assert set(strategy.query(model, pool, n, np.random.default_rng(0)).rows).isdisjoint(without)
    query = strategy.query(model, pool, 22, np.random.default_rng(0))
    assert query.rows[19:].tolist() == [3, 4, 6]  # row 5 has a label
    assert {reason["word"] for reason in query.reasons[19:]} == {None}
    empty = pool_of([""] * 6, [2], kind)
    assert strategy.query(model, empty, 3, np.random.default_rng(0)).rows.tolist() == [0, 1, 3]


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_k_center_against_loops(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    center, _, representations, deviations = slow_informative_words(slow_interpretations(model, pool, "logit", "auto"))
    query = DamiKCenter(Representation("logit")).query(model, pool, 8, np.random.default_rng(0))
    covered = [center]
    for row, reason in zip(query.rows, query.reasons, strict=True):
        nearest = [min(np.linalg.norm(r - c) for c in covered) for r in representations]
        i = int(np.searchsorted(pool.unlabeled, row))
        assert nearest[i] == pytest.approx(max(nearest), rel=1e-5)
        assert reason["distance"] == pytest.approx(nearest[i], rel=1e-4)
        assert reason["deviation"] == pytest.approx(deviations[i], rel=1e-4)
        covered.append(representations[i])


@pytest.mark.parametrize("strategy", [Dami(), DamiKCenter()], ids=["dami", "dami-kcenter"])
def test_reasons_name_the_informative_word(strategy):
    pool = odd_pool()
    model = model_for("bilstm", pool, 3)
    interpretations = slow_interpretations(model, pool, "probability", "auto")
    _, words, _, deviations = slow_informative_words(interpretations)
    query = strategy.query(model, pool, len(pool.unlabeled), np.random.default_rng(0))
    assert sorted(query.rows.tolist()) == pool.unlabeled.tolist()
    for row, reason in zip(query.rows, query.reasons, strict=True):
        i = int(np.searchsorted(pool.unlabeled, row))
        assert reason["word"] == (pool.texts.text(row).split()[words[i]] if words[i] >= 0 else None)
        assert reason["deviation"] == pytest.approx(deviations[i], rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("strategy", [Dami(), DamiKCenter()], ids=["dami", "dami-kcenter"])
def test_reasons_name_words_wherever_they_stand_in_the_text(strategy):
    pool = odd_pool()
    model = model_for("cnn", pool, 2)
    words = Representation().of_unlabeled(model, pool, np.random.default_rng(0)).words
    assert min(words) < 0 < max(words)
    query = strategy.query(model, pool, len(pool.unlabeled), np.random.default_rng(0))
    named = {
        int(np.searchsorted(pool.unlabeled, row)): r["word"] for row, r in zip(query.rows, query.reasons, strict=True)
    }
    for i, word in enumerate(words.tolist()):
        assert named[i] == (pool.texts.text(pool.unlabeled[i]).split()[word] if word >= 0 else None)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_word_of_the_largest_norm(kind, n_classes):
    pool = odd_pool(50)
    model = model_for(kind, pool, n_classes)
    interpretations = slow_interpretations(model, pool, "logit", "auto")
    center = slow_informative_words(interpretations)[0]
    found = Representation("logit", "auto", 8, "norm").of_unlabeled(model, pool, np.random.default_rng(0))
    assert found.mean == pytest.approx(center, abs=1e-6 * np.abs(center).max())
    for i, text in enumerate(interpretations):
        if not len(text):
            assert (found.words[i], found.deviations[i], np.abs(found.representations[i]).max()) == (-1, 0, 0)
            continue
        norms = [float(np.linalg.norm(word)) for word in text]
        assert norms[found.words[i]] == pytest.approx(max(norms), rel=1e-6)
        np.testing.assert_allclose(found.representations[i], text[found.words[i]], atol=1e-5)
        assert found.deviations[i] == pytest.approx(np.square(text[found.words[i]] - center).sum(), rel=1e-4, abs=1e-9)


def test_a_random_word_depends_on_the_text_and_the_seed_alone():
    texts = [" ".join(f"w{i}" for i in range(n)) for n in range(1, 13)] * 3
    pool = pool_of([f"{text} w{20 + place}" for place, text in enumerate(texts)])
    model = model_for("cnn", pool)
    words = [
        Representation("logit", "auto", 8, "random").of_unlabeled(model, pool, np.random.default_rng(seed)).words
        for seed in (0, 1)
    ]
    assert (words[0] != words[1]).any()
    lengths = pool.texts.lengths
    assert all(0 <= word < length for word, length in zip(words[0], lengths, strict=True))
    assert len(set(words[0].tolist())) > 5
    some = Representation("logit", "auto", 3, "random")
    found = some.of_unlabeled(model, pool.with_labeled(np.array([0, 5])), np.random.default_rng(0)).words
    assert found.tolist() == np.delete(words[0], [0, 5]).tolist()


def test_park_jun_starts_and_goes_on_as_the_paper_says():
    """Against Park & Jun's method by loops, on the representations of few texts."""
    pool = odd_pool(24)
    model = model_for("bilstm", pool)
    _, words, representations, _ = slow_informative_words(slow_interpretations(model, pool, "logit", "auto"))
    (with_words,) = np.nonzero(np.asarray(words) >= 0)  # the others represent nothing
    D, k = matrix([representations[i] for i in with_words], "euclidean"), 4
    medoids = np.argsort((D / D.sum(axis=0)).sum(axis=1), kind="stable")[:k]
    loss = np.inf
    while D[:, medoids].min(axis=1).sum() < loss:
        loss, best = D[:, medoids].min(axis=1).sum(), medoids
        nearest = D[:, medoids].argmin(axis=1)
        clusters = [np.flatnonzero(nearest == place) for place in range(k)]
        medoids = np.array([c[D[np.ix_(c, c)].sum(axis=1).argmin()] for c in clusters])
    query = Dami(representation=Representation("logit"), clustering="park-jun").query(
        model, pool, k, np.random.default_rng(0)
    )
    assert sorted(query.rows.tolist()) == sorted(pool.unlabeled[with_words[best]].tolist())
    assert query.details["clustering"] == "alternate"


def test_words_are_explained_by_the_mean_of_the_last_query_only():
    pool = odd_pool()
    strategy = Dami()
    with pytest.raises(ValueError, match="there was no query yet"):
        strategy.explain(model_for("cnn", pool), pool.texts, np.array([0]))


@pytest.mark.parametrize("strategy", [Dami(), DamiKCenter(), EglWord()], ids=["dami", "dami-kcenter", "egl-word"])
def test_no_punctuation_is_shown_as_a_reason_where_there_is_another_word(strategy):
    rng = np.random.default_rng(0)
    parts = [f"w{i}" for i in range(9)] + [".", "!", "...", "(", "&amp;", "\u200b"]
    texts = [" ".join(rng.choice(parts, 6)) for _ in range(40)]
    pool = Pool(encode_texts([*texts, ". ! .", "!"]))
    model = model_for("cnn", pool, 3)
    query = strategy.query(model, pool, len(pool), np.random.default_rng(0))
    mean = slow_informative_words(slow_interpretations(model, pool, "probability", "auto"))[0]
    others = 0
    for row, reason in zip(query.rows.tolist(), query.reasons, strict=True):
        words = pool.texts.text(row).split()
        if isinstance(strategy, EglWord):
            (weights,) = strategy.explain(model, pool.texts, np.array([row]))
        else:
            (weights,) = Representation().deviations(model, pool.texts, np.array([row]), mean)
        letters = [i for i, word in enumerate(words) if word.startswith("w")] or range(len(words))
        # Of a filter's window several words may have the same gradient: then either is right.
        best = max(weights[i] for i in letters)
        assert reason["word"] in {words[i] for i in letters if weights[i] >= best * (1 - 1e-6)}
        others += max(weights) > best
    assert others > 5, "in some texts punctuation decided"
