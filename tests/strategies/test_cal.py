"""CAL against loops over texts, neighbours and classes."""

from itertools import pairwise

import numpy as np
import pytest
from strategy_cases import CLASSES, KINDS, features_of, logits_of, model_for, odd_pool, reasons_by_row

from dami_text.data.pool import Pool
from dami_text.strategies import Cal


def probabilities(model, pool, rows):
    return [logits_of(model, pool, row).softmax(0).tolist() for row in rows]


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_labeled", [3, 20])
def test_against_loops(kind, n_classes, n_labeled):
    pool = odd_pool(60)
    pool = Pool(pool.texts, np.random.default_rng(0).choice(60, n_labeled, replace=False))
    pool = pool.without([row for row in range(60) if not len(pool.texts.token_ids(row))])
    model = model_for(kind, pool, n_classes)
    labeled, unlabeled = (features_of(model, pool, rows) for rows in (pool.labeled, pool.unlabeled))
    theirs, own = (probabilities(model, pool, rows) for rows in (pool.labeled, pool.unlabeled))
    expected = {}
    for i, row in enumerate(pool.unlabeled.tolist()):
        nearest = sorted(range(n_labeled), key=lambda j: np.linalg.norm(unlabeled[i] - labeled[j]))[:10]
        divergences = [sum(p * np.log(p / q) for p, q in zip(theirs[j], own[i], strict=True)) for j in nearest]
        expected[row] = float(np.mean(divergences))
    query = Cal().query(model, pool, len(pool.unlabeled), np.random.default_rng(0))
    found = reasons_by_row(query)
    assert [found[row] for row in expected] == pytest.approx(list(expected.values()), rel=1e-4, abs=1e-7)
    scores = [expected[row] for row in query.rows.tolist()]
    assert all(after <= before + 1e-6 for before, after in pairwise(scores))
