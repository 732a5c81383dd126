"""What the tests of tables share: pools of rows and small MLPs."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from dami_text.data.pool import Pool
from dami_text.data.tabular import EncodedTable
from dami_text.models.mlp import MLPConfig, MLPForSequenceClassification


def table_pool(features: Any, labeled: Any = ()) -> Pool:
    """Rows of features (N, D), named by what they hold."""
    features = np.asarray(features, np.float32)
    return Pool(EncodedTable(Dataset.from_dict({"text": [str(row.tolist()) for row in features]}), features), labeled)


def odd_table(n: int = 36) -> Pool:
    """n distinct rows of 4 features in random order, of which 6 are labelled; one is 0, and one large."""
    features = np.random.default_rng(1).normal(size=(n, 4))
    features[0] = 0
    features[1] *= 20
    return table_pool(features, np.random.default_rng(0).choice(n, 6, replace=False))


def mlp_for(pool: Pool, n_classes: int = 2, **options: Any) -> MLPForSequenceClassification:
    """An MLP out of training mode, its last layer large enough for outputs to differ; with dropout, for BALD."""
    options = {"dropout": 0.25, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MLPForSequenceClassification(MLPConfig(pool.texts.matrix.shape[1], num_labels=n_classes, **options))
        with torch.no_grad():
            model.classifier.weight.mul_(4)
    return model.eval()
