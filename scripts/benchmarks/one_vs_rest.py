"""The package's one-vs-rest regressions beside scikit-learn's, on the same features of texts with several labels.

    python scripts/multilabel_sets.py DATA/real/goemotions sets
    python scripts/benchmarks/one_vs_rest.py sets/goemotions.jsonl sets/groups.jsonl --labels 300 1000 --seeds 3

The features are the linear model's TF-IDF and those of a frozen MiniLM. scikit-learn's OneVsRestClassifier is around
LogisticRegression with its default strength, or LogisticRegressionCV, which chooses each label's strength by the
likelihood of held-out texts in five folds. Ours is shown with and without the weights of single tokens that the head of
a frozen encoder has beside the features. All predict from one half on; `threshold` is ours with `--threshold f1`.
"""

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

MODELS: dict[str, dict[str, Any]] = {
    "TF-IDF": {"model": "linear"},
    "MiniLM": {"model": "sentence-transformers/all-MiniLM-L6-v2", "freeze_encoder": True},
}


def main() -> None:
    """Print a table of micro and macro F1, in per cent: the mean over the seeds, which draw the labelled texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="of multilabel_sets.py")
    parser.add_argument("--labels", type=int, nargs="+", default=[1000], help="how many texts are labelled")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # a label that no labelled text has; a solver that takes long
    print("| data | features | labels | classifier | micro F1 | macro F1 |\n|---|---|---|---|---|---|")
    for file in options.files:
        for features in MODELS:
            for n in options.labels:
                scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
                for seed in range(options.seeds):
                    for name, score in scores_of(file, features, n, seed):
                        scores[name].append(score)
                for name, found in scores.items():
                    micro, macro = 100 * np.mean(found, axis=0)
                    print(f"| {file.stem} | {features} | {n} | {name} | {micro:.1f} | {macro:.1f} |", flush=True)


def scores_of(file: Path, features: str, n: int, seed: int) -> Iterator[tuple[str, tuple[float, float]]]:
    """Micro and macro F1 on the test split of each classifier, by its name."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.multiclass import OneVsRestClassifier

    from dami_text.config.run import RunConfig
    from dami_text.learning.preparation import learner_of, prepare
    from dami_text.models.inference import predict_probabilities
    from dami_text.models.logistic import fit_logistic
    from dami_text.models.one_vs_rest import fit_each_label
    from dami_text.models.training import WAYS

    config = RunConfig.of(
        **MODELS[features], dataset=str(file), task="multilabel", strategy="random", validation="none", threshold="f1"
    )
    data = prepare(config)
    rows = np.random.default_rng(seed).permutation(len(data.train.rows))[:n]
    labels, expected = data.train.labels[rows], data.test.labels
    learner = learner_of(config, data.train.texts, data.class_names, data.source)
    learner.tell(rows, labels)
    yield "ours", f1(predict_probabilities(learner.trained_model(), data.test.texts, data.test.rows) > 0.5, expected)
    with learner.predicting() as model:
        yield "ours, threshold", f1(predict_probabilities(model, data.test.texts, data.test.rows) > 0.5, expected)
    train, test = (features_of(part) for part in (data.train, data.test))
    if features == "MiniLM":
        mean = train.mean(axis=0)
        whole, _ = fit_each_label(labels, lambda of_one, c: (fit_logistic(train[rows], of_one, c, mean, WAYS), None))
        yield "ours, features alone", f1(test @ whole.weight.T + whole.bias > 0, expected)
    by_likelihood = LogisticRegressionCV(Cs=np.logspace(-2, 4, 7), cv=5, scoring="neg_log_loss", max_iter=300)
    for name, each in {"scikit-learn": LogisticRegression(max_iter=1000), "scikit-learn, CV": by_likelihood}.items():
        kept = np.flatnonzero((labels.sum(axis=0) >= 5) & (labels.sum(axis=0) <= n - 5))  # five folds have each class
        found = np.zeros(expected.shape, bool)
        found[:, kept] = OneVsRestClassifier(each).fit(train[rows], labels[:, kept]).predict(test) > 0
        yield name, f1(found, expected)


def features_of(part: Any) -> Any:
    """The features (N, V) of a split as the models read them."""
    texts = part.texts
    return texts.matrix if texts.frozen_features is None else texts.frozen_features.features[part.rows]


def f1(predicted: NDArray[np.bool_], labels: Labels) -> tuple[float, float]:
    """Micro and macro F1."""
    from sklearn.metrics import f1_score

    micro, macro = (float(f1_score(labels, predicted, average=name, zero_division=0)) for name in ("micro", "macro"))
    return micro, macro


if __name__ == "__main__":
    main()
