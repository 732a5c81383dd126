"""The part of a pool that is near to anchors, against a slow reference and by hand."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from dami_text import RunConfig, make_learner
from dami_text.errors import ConfigError
from dami_text.learning import anchors
from dami_text.learning.anchors import drawn_anchors, in_turn, most_similar, near_anchors

RARE = ["the parcel was lost in the post", "my parcel is lost, where is the post", "lost post: no parcel came"]
COMMON = ["a fine film with fine music", "what a fine day", "the music is fine", "fine weather and a film"]


def slow_near(features, of_classes, rows, n):
    """Class after class, anchor after anchor, the most similar row that is left."""
    similarity = cosine_similarity(features)
    taken, turns = [], [0] * len(of_classes)
    looked = {int(anchor): [] for anchors_ in of_classes for anchor in anchors_}
    place = 0
    while len(taken) < n:
        c = place % len(of_classes)
        while True:
            anchor = int(of_classes[c][turns[c] % len(of_classes[c])])
            turns[c] += 1
            left = [row for row in rows if row not in looked[anchor]]
            if not left:
                continue
            best = max(left, key=lambda row: (round(float(similarity[anchor, row]), 5), -row))
            looked[anchor].append(best)
            if best not in taken:
                taken.append(best)
                break
        place += 1
    return sorted(taken)


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("block", [7, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_classes_and_their_anchors_take_turns_as_a_slow_reference_has_it(seed, block, form, monkeypatch):
    monkeypatch.setattr(anchors, "BLOCK", block)
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(90, 5)).astype(np.float32)
    features[40:60] = features[20:40]  # copies: equal but for rounding
    order = rng.permutation(90)
    of_classes, rows = [order[:4], order[4:5], order[5:12]], np.sort(order[12:])
    given = sparse.csr_matrix(features) if form == "sparse" else features
    for n in (1, 2, 20, 77, 78):
        found = most_similar(given, np.concatenate(of_classes), rows, n)
        near = in_turn(np.split(found, [4, 5]), n)
        assert sorted(near.tolist()) == slow_near(features, of_classes, rows.tolist(), n)


def test_the_most_similar_rows_are_scikit_learns(monkeypatch):
    monkeypatch.setattr(anchors, "BLOCK", 64)
    features = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    rows = np.arange(10, 500)
    expected = rows[np.argsort(-cosine_similarity(features[:10], features[10:]), axis=1)[:, :30]]
    np.testing.assert_array_equal(most_similar(features, np.arange(10), rows, 30), expected)


def test_few_labelled_texts_are_all_anchors_and_of_many_ten_that_are_spread():
    features = np.concatenate([np.eye(10).repeat(8, axis=0), np.zeros((20, 10))]).astype(np.float32)
    rng = np.random.default_rng(0)
    assert drawn_anchors(features, np.arange(3, 13), rng).tolist() == list(range(3, 13))
    for _ in range(5):
        drawn = drawn_anchors(features, np.arange(80), rng)
        assert sorted(drawn // 8) == list(range(10)), "one of each group of equal texts"
    assert len(drawn_anchors(features, np.arange(80, 100), rng)) >= 1, "texts without words are alike"


def learner_of(n=300, **options):
    """A linear learner over common texts and 3% rare ones, and the rare rows."""
    rng = np.random.default_rng(0)
    rare = np.sort(rng.choice(n, n // 33, replace=False))
    texts = [f"{COMMON[i % 4]} {i}" for i in range(n)]
    for place, row in enumerate(rare):
        texts[row] = f"{RARE[place % 3]} {row}"
    return make_learner(texts, ["common", "rare"], RunConfig.of(model="linear", **options)), rare


def test_a_rare_class_has_its_share_of_the_subsample():
    learner, rare = learner_of(pool_subsample=20, pool_subsample_by="anchors")
    common = np.setdiff1d(np.arange(300), rare)
    learner.tell([int(rare[0]), *common[:9].tolist()], [1] + [0] * 9)
    offered = near_anchors(learner.core.pool, 20, np.random.default_rng(0))
    assert set(rare[1:]) <= set(offered.unlabeled.tolist())
    assert len(offered.unlabeled) == 20
    query = learner.ask(5)
    assert query.details["considered"] == 20
    assert set(query.rows.tolist()) <= set(offered.unlabeled.tolist())
    assert np.array_equal(offered.labeled, learner.core.pool.labeled)


def test_the_subsample_is_the_rounds_and_never_less_than_what_is_asked_for():
    learner, rare = learner_of(pool_subsample=6, pool_subsample_by="anchors", seed=3)
    again, _ = learner_of(pool_subsample=6, pool_subsample_by="anchors", seed=3)
    for each in (learner, again):
        each.tell(np.arange(40).tolist(), np.isin(np.arange(40), rare).astype(int).tolist())
    assert learner.ask(4).rows.tolist() == again.ask(4).rows.tolist() == learner.ask(4).rows.tolist()
    assert learner.ask(9).details["considered"] == 9
    assert learner.ask(1_000).details["considered"] == 260


def test_models_without_features_of_texts_are_refused():
    for options, message in (
        ({"model": "cnn"}, "model cnn has neither; use a frozen encoder or model linear"),
        ({"model": "org/name"}, "model org/name has neither; add freeze_encoder"),
        ({"task": "tabular", "model": "mlp"}, "pool_subsample_by is for texts, and task is tabular"),
    ):
        with pytest.raises(ConfigError, match=message):
            RunConfig.of(**options, pool_subsample=10, pool_subsample_by="anchors")
    with pytest.raises(
        ConfigError, match="pool_subsample_by anchors has no effect without pool_subsample; leave it out"
    ):
        RunConfig.of(model="linear", pool_subsample_by="anchors")
    RunConfig.of(model="org/name", freeze_encoder=True, pool_subsample=10, pool_subsample_by="anchors")
    RunConfig.of(model="auto", pool_subsample=10, pool_subsample_by="anchors")
