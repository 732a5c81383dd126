"""The loop of asks and tells in Python beside the same loop written plainly with scikit-learn, in CPU seconds.

    python scripts/benchmarks/python_loop.py [FILE]

Both ask for 10 of 10,000 texts, 20 times, by margin, with a new logistic regression each time, on the same TF-IDF
features, which are made before. The plain loop has one penalty; the learner averages two fits, and chooses how by
cross-validation in each round. The loop "with cross-validation" chooses a penalty (LogisticRegressionCV).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from dami_text import RunConfig, demo_dataset, make_learner
from dami_text.config.data_options import DataConfig
from dami_text.data.sources import load_source

N_TEXTS, ROUNDS, QUERY_SIZE = 10_000, 20, 10


def texts_and_labels(file: str | None) -> tuple[list[str], NDArray[np.int64]]:
    """10,000 labelled texts: of a file or, without one, the demo's sentences in threes."""
    rng = np.random.default_rng(0)
    if file is None:
        data = demo_dataset()
        chosen = rng.integers(len(data), size=(N_TEXTS, 3))
        sentences, labels = data["text"][:], np.array(data["label"][:])
        return [" ".join(sentences[i] for i in row) for row in chosen], (labels[chosen].sum(axis=1) > 1).astype(
            np.int64
        )
    parts = load_source(DataConfig(dataset=file)).values()
    texts = [text for part in parts for text in part["text"]]
    labels = np.array([label for part in parts for label in part["label"]])
    chosen = rng.permutation(len(texts))[:N_TEXTS]
    return [texts[i] for i in chosen], labels[chosen]


def plainly(features: Any, labels: NDArray[np.int64], new_model: Callable[[int], Any]) -> None:
    """The loop as one would write it; it starts with texts of both classes."""
    known = [int(np.flatnonzero(labels == label)[i]) for i in range(QUERY_SIZE // 2) for label in (0, 1)]
    for _ in range(ROUNDS - 1):
        model = new_model(len(known)).fit(features[known], labels[known])
        rest = np.setdiff1d(np.arange(len(labels)), known)
        p = np.sort(model.predict_proba(features[rest]), axis=1)
        known += rest[np.argsort(p[:, -1] - p[:, -2])[:QUERY_SIZE]].tolist()


def by_learner(learner: Any, labels: NDArray[np.int64]) -> None:
    """The same loop with the learner."""
    for _ in range(ROUNDS):
        query = learner.ask(QUERY_SIZE)
        learner.tell(query.rows, labels[query.rows])


def cpu_seconds(function: Callable[[], object]) -> float:
    """The CPU seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="labelled texts of two classes (default: made of the demo)")
    parser.add_argument("--with-cross-validation", action="store_true", help="the third loop, too: minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts, labels = texts_and_labels(options.file)
    made: list[Any] = []

    def make() -> None:
        made.append(make_learner(texts, ["no", "yes"], RunConfig.of(model="linear", strategy="margin")))

    print(f"{'make the learner':40} {cpu_seconds(make):6.2f}")
    print(f"{'TfidfVectorizer of words':40} {cpu_seconds(lambda: TfidfVectorizer().fit_transform(texts)):6.2f}")
    features = made[0].pool.texts.matrix
    plain = cpu_seconds(lambda: plainly(features, labels, lambda n: LogisticRegression()))
    print(f"{'the plain loop':40} {plain:6.2f}")
    if options.with_cross_validation:
        chosen = {"Cs": 6, "scoring": "neg_log_loss", "max_iter": 1000}
        found = cpu_seconds(lambda: plainly(features, labels, lambda n: LogisticRegressionCV(**chosen)))
        print(f"{'the plain loop with cross-validation':40} {found:6.2f}")
    ours = cpu_seconds(lambda: by_learner(made[0], labels))
    print(f"{'asks and tells':40} {ours:6.2f}  {ours / plain:.2f} times the plain loop")


if __name__ == "__main__":
    main()
