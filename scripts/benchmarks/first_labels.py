"""What the first labels show: classes seen and accuracy after 20 labels, by how the texts of the start are chosen.

    python scripts/benchmarks/first_labels.py DATA --seeds 10

DATA and the sets are those of few_labels.py: 2,000 texts to choose from, of which a session's start encodes 1,000 at
random, and 500 to test on. The model is the frozen sentence encoder of `--model auto`. `described` was told what
DESCRIPTIONS say, which nobody tuned: they were written once, before the first figure. The last set is sms with so many
of its advertisements left out that one text in fifty is one.
"""

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from datasets import Dataset
from few_labels import LEARNERS, Rows, rows_of

EMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire"),
    *("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy"),
    *("love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
)

#: What was said of the classes, by name; those that are left out are described by their names.
DESCRIPTIONS: dict[str, dict[str, str]] = {
    "subj": {
        "objective": "tells what happens in the plot of a film",
        "subjective": "an opinion or judgement about a film",
    },
    "MR": {"neg": "a bad film, boring, a waste of time", "pos": "a good film, moving and funny, worth seeing"},
    "SST, 5 classes": {
        "0": "a terrible film, very bad",
        "1": "a rather bad film",
        "2": "neither good nor bad",
        "3": "a rather good film",
        "4": "a wonderful film, very good",
    },
    "banking77": {},
    "sms": {
        "ham": "a personal message to a friend",
        "spam": "an advertisement: you have won a prize, call now to claim",
    },
    "goemotions": {str(i): name for i, name in enumerate(EMOTIONS)},
    "logs": {"-": "normal operation, information, no error"},
}
RARE = "sms, 2% spam"
STARTS = ("random", "typical", "described")


def described_as(name: str, class_names: list[str]) -> list[str]:
    """The option `--describe` of a set: of classes without a description, their names in words."""
    told = DESCRIPTIONS[name]
    return [f"{c}={told.get(c) or c.replace('_', ' ')}" for c in class_names]


def thinned(rows: Rows) -> Rows:
    """The rows with so few texts of the pool's second class that they are 2%."""
    first, second = np.flatnonzero(rows.labels == 0), np.flatnonzero(rows.labels == 1)
    kept = np.sort(np.concatenate([first, second[: round(len(first) / 49)]]))
    return Rows([rows.pool[i] for i in kept], rows.labels[kept], rows.test, rows.expected, rows.class_names)


def measured(name: str, rows: Rows, n_labels: int, seeds: int, n_encoded: int) -> dict[str, tuple[float, float]]:
    """The mean share of classes seen and accuracy of each start."""
    from dami_text.config.run import RunConfig
    from dami_text.learning.preparation import learner_of
    from dami_text.models.inference import predict_probabilities
    from dami_text.processes import use_device
    from dami_text.randomness import numpy_stream

    use_device("cpu", small=False)
    config = RunConfig.of(**LEARNERS["frozen"], strategy="random")
    pool, test = (Dataset.from_dict({"text": texts}) for texts in (rows.pool, rows.test))
    source = config.model.kind.source(config, pool, rows.class_names)
    encoded, held_out = source.encode([pool, test])
    source.pretrain(encoded)
    found: dict[str, tuple[float, float]] = {}
    for start in STARTS:
        seen, right = [], []
        for seed in range(seeds):
            more: dict[str, Any] = {"describe": described_as(name, rows.class_names)} if start == "described" else {}
            learner = learner_of(config.changed(seed=seed, cold_start=start, **more), encoded, rows.class_names, source)
            learner.pool = learner.pool.sample(n_encoded, numpy_stream(seed, 0, "start sample"))
            chosen = learner.ask(n_labels).rows
            learner.tell(chosen, rows.labels[chosen])
            predicted = predict_probabilities(learner.trained_model(), held_out, np.arange(len(test))).argmax(axis=1)
            seen.append(len(np.unique(rows.labels[chosen])) / len(np.unique(rows.labels)))
            right.append(float((predicted == rows.expected).mean()))
        found[start] = (mean(seen), mean(right))
    return found


def main() -> None:
    """Print a line for each set, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=[*DESCRIPTIONS, RARE])
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--encoded", type=int, default=1000)
    options = parser.parse_args()
    lines = []
    print(f"| | {' | '.join(STARTS)} |", "|---" * (len(STARTS) + 1) + "|", sep="\n")
    for name in options.sets:
        of = "sms" if name == RARE else name
        rows = rows_of(options.data, of, 2500)
        rows = thinned(rows) if name == RARE else rows
        found = measured(of, rows, options.labels, options.seeds, options.encoded)
        lines.append(list(found.values()))
        print(f"| {name} |", " | ".join(f"{seen:.0%}, {right:.1%}" for seen, right in found.values()), "|", flush=True)
    means = np.mean(lines, axis=0)
    print("| mean |", " | ".join(f"{seen:.0%}, {right:.1%}" for seen, right in means), "|")


if __name__ == "__main__":
    main()
