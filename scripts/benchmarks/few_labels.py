"""What each learner reaches with 20 to 500 labels in all, beside what people would write themselves, on the same texts.

    python scripts/benchmarks/few_labels.py DATA --output few-labels
    python scripts/benchmarks/few_labels.py DATA --output few-labels --learners linear frozen --labels 50 100 --seeds 3

DATA is a folder that holds SetFit/subj, cornell-movie-review-data/rotten_tomatoes, pools/sst_phrases.csv.gz and the
public files of real/ (banking77, sms, zh, logs, goemotions, gnad), as their authors publish them. Of each set 2,500
rows are drawn by seed 0: 2,000 for the pool and 500 to test on. Each further seed draws labelled texts from the pool,
and a larger number of labels holds the smaller one's. No learner has a validation split.

Every figure is a line of the output folder's results.jsonl, and a run that is stopped goes on there. At the end there
are a table of accuracies, one of macro F1, results.json and few-labels.svg. The yardsticks need the extra `benchmarks`.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

SETS: dict[str, dict[str, Any]] = {
    "subj": {"dataset": "SetFit/subj"},
    "MR": {"dataset": "cornell-movie-review-data/rotten_tomatoes"},
    "SST, 5 classes": {"dataset": "pools/sst_phrases.csv.gz", "label_column": "label5"},
    "banking77": {"dataset": "real/banking77/train.csv", "label_column": "category"},
    "sms": {"dataset": "real/sms/spam.csv", "text_column": "message", "label_column": "class"},
    "goemotions": {"dataset": "real/goemotions/train.tsv", "columns": ["text", "label", "id"], "quote": "none"},
    "logs": {"dataset": "real/logs/BGL_2k.log_structured.csv", "text_column": "Content", "label_column": "Label"},
    "ChnSentiCorp": {"dataset": "real/zh/ChnSentiCorp_htl_all.csv", "text_column": "review"},
    "waimai": {"dataset": "real/zh/waimai_10k.csv", "text_column": "review"},
    "10kGNAD": {"dataset": "real/gnad/test.csv", "columns": ["label", "text"], "delimiter": ";", "quote": "'"},
}

MINILM = "sentence-transformers/all-MiniLM-L6-v2"

#: The options of the package's learners.
LEARNERS: dict[str, dict[str, Any]] = {
    "auto": {"model": "auto"},
    "linear": {"model": "linear"},
    "frozen": {"model": MINILM, "freeze_encoder": True},
    "head-tail": {"model": MINILM, "freeze_encoder": True, "long_texts": "head-tail"},
    "windows": {"model": MINILM, "freeze_encoder": True, "long_texts": "windows"},
    "contrastive": {"model": MINILM, "contrastive": True},
    "fine-tuned": {"model": MINILM},
    "cnn": {"model": "cnn"},
    "bilstm": {"model": "bilstm"},
}
#: Frozen encoders that are as good as "frozen" where no text is long: they are run where they are named.
ON_LONG_TEXTS = ("head-tail", "windows")
YARDSTICKS = ("TF-IDF + LR", "character TF-IDF + LR", "SentenceTransformer + LR", "setfit")


@dataclass(frozen=True)
class Rows:
    """The texts of a set, and the numbers (N,) of their classes: the pool's, and those to test on."""

    pool: list[str]
    labels: NDArray[np.int64]
    test: list[str]
    expected: NDArray[np.int64]
    class_names: list[str]


def rows_of(data: Path, name: str, n_rows: int) -> Rows:
    """The rows of a set, drawn by seed 0. Of texts with several labels, only those with one take part."""
    from datasets import concatenate_datasets

    from dami_text.config.data_options import DataConfig
    from dami_text.data.sources import load_source

    options = SETS[name] | {"dataset": str(data / SETS[name]["dataset"])}
    whole = concatenate_datasets([*load_source(DataConfig(**options)).values()])
    names = whole.features["label"].names
    single = np.flatnonzero(["," not in names[label] for label in whole["label"][:]])
    drawn = single[np.random.default_rng(0).permutation(len(single))[:n_rows]]
    texts, labels = whole.select(drawn)["text"][:], np.array(whole.select(drawn)["label"][:])
    kept, numbers = np.unique(labels, return_inverse=True)
    n = len(texts) - len(texts) // 5
    return Rows(texts[:n], numbers[:n], texts[n:], numbers[n:], [names[i] for i in kept])


#: From rows of the pool that are labelled to the classes of the test texts; each call has those of the call before.
Predictor = Callable[[NDArray[np.int64]], NDArray[np.int64]]


def learner_of(name: str, rows: Rows) -> Callable[[int], Predictor]:
    """A learner of the package, by seed."""
    from dami_text.config.run import RunConfig
    from dami_text.learning.preparation import learner_of as make
    from dami_text.models.inference import predict_probabilities
    from dami_text.models.kinds.automatic import settled
    from dami_text.processes import use_device

    config = RunConfig.of(**LEARNERS[name], strategy="random")
    pool, test = (Dataset.from_dict({"text": texts}) for texts in (rows.pool, rows.test))
    config, _ = settled(config, pool)
    use_device("auto", small=config.model.kind.is_small)
    source = config.model.kind.source(config, pool, rows.class_names)
    encoded, held_out = source.encode([pool, test])
    source.pretrain(encoded)

    def of_seed(seed: int) -> Predictor:
        learner = make(config.changed(seed=seed), encoded, rows.class_names, source)

        def predict(labelled: NDArray[np.int64]) -> NDArray[np.int64]:
            new = np.setdiff1d(labelled, learner.pool.labeled)
            learner.tell(new, rows.labels[new])
            return predict_probabilities(learner.trained_model(), held_out, np.arange(len(test))).argmax(axis=1)

        return predict

    return of_seed


def regression(pool: Any, test: Any, rows: Rows, strength: float) -> Predictor:
    """scikit-learn's logistic regression, on features of the pool and of the test texts."""
    from sklearn.linear_model import LogisticRegression

    def predict(labelled: NDArray[np.int64]) -> NDArray[np.int64]:
        model = LogisticRegression(C=strength, max_iter=1000).fit(pool[labelled], rows.labels[labelled])
        found: NDArray[np.int64] = model.predict(test)
        return found

    return predict


def tfidf(rows: Rows) -> Predictor:
    """TF-IDF of words and characters and scikit-learn's logistic regression, as one would write it."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return regression_on(make_union(words, characters), rows)


def character_tfidf(rows: Rows) -> Predictor:
    """TF-IDF of one to three characters, as one would write it where no blanks stand between words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return regression_on(TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True), rows)


def regression_on(vectorizer: Any, rows: Rows) -> Predictor:
    """scikit-learn's logistic regression, on what a vectorizer makes of the texts."""
    vectorizer.fit(rows.pool)
    return regression(vectorizer.transform(rows.pool), vectorizer.transform(rows.test), rows, strength=30)


def sentence_transformer(rows: Rows) -> Predictor:
    """What SentenceTransformer.encode gives of texts, and scikit-learn's logistic regression."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(weights())
    pool, test = encoder.encode(rows.pool), encoder.encode(rows.test)
    return regression(pool, test, rows, strength=10)


def setfit(rows: Rows) -> Predictor:
    """The package setfit with its defaults: 20 pairs of each kind for a text, one pass over them."""
    from setfit import SetFitModel, Trainer, TrainingArguments

    def predict(labelled: NDArray[np.int64]) -> NDArray[np.int64]:
        part = Dataset.from_dict({"text": [rows.pool[i] for i in labelled], "label": rows.labels[labelled]})
        model = SetFitModel.from_pretrained(weights())
        arguments = TrainingArguments(num_iterations=20, num_epochs=1, report_to="none", save_strategy="no")
        Trainer(model=model, args=arguments, train_dataset=part).train()
        return np.asarray(model.predict(rows.test, as_numpy=True))

    return predict


def weights() -> str:
    """What loads MiniLM."""
    from dami_text.models.installed import at_hand

    return at_hand(MINILM)[0]


def predictors(name: str, rows: Rows) -> Callable[[int], Predictor]:
    """The learner or yardstick of that name, by seed."""
    if name in LEARNERS:
        return learner_of(name, rows)
    makers = {
        "TF-IDF + LR": tfidf,
        "character TF-IDF + LR": character_tfidf,
        "SentenceTransformer + LR": sentence_transformer,
        "setfit": setfit,
    }
    made = makers[name](rows)
    return lambda seed: made


def measured(options: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """A line for each learner, set, seed and number of labels that is not done yet."""
    from sklearn.metrics import f1_score

    for name in options.sets:
        rows = rows_of(options.data, name, options.rows)
        for learner in options.learners:
            of_seed: Callable[[int], Predictor] | None = None
            for seed in range(1, options.seeds + 1):
                order = np.random.default_rng(seed).permutation(len(rows.pool))
                sizes = [n for n in sorted(options.labels) if n <= len(rows.pool)]
                sizes = [n for n in sizes if (name, learner, seed, n) not in done]
                sizes = [n for n in sizes if len(np.unique(rows.labels[order[:n]])) > 1]
                if not sizes:
                    continue
                of_seed = of_seed or predictors(learner, rows)
                predict = of_seed(seed)
                for n in sizes:
                    start = time.process_time()
                    found = predict(order[:n])
                    seconds = time.process_time() - start
                    scores = {
                        "accuracy": float((found == rows.expected).mean()),
                        "macro_f1": float(f1_score(rows.expected, found, average="macro")),
                    }
                    yield {"set": name, "learner": learner, "seed": seed, "labels": n, **scores, "cpu_seconds": seconds}


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of an earlier run."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def table(lines: Sequence[dict[str, Any]], metric: str) -> str:
    """Means over the seeds in per cent, and their standard errors: a row a set and learner, a column a size."""
    sizes = sorted({line["labels"] for line in lines})
    head = f"| {metric} | learner | " + " | ".join(map(str, sizes)) + " |"
    rows = [head, "|---" * (len(sizes) + 2) + "|"]
    for name in dict.fromkeys(line["set"] for line in lines):
        for learner in dict.fromkeys(line["learner"] for line in lines if line["set"] == name):
            cells = []
            for n in sizes:
                where = (name, learner, n)
                values = [100 * v[metric] for v in lines if (v["set"], v["learner"], v["labels"]) == where]
                error = f" ± {stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
                cells.append(f"{mean(values):.1f}{error}" if values else "")
            rows.append(f"| {name} | {learner} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def draw(lines: Sequence[dict[str, Any]], file: Path) -> None:
    """The curves of accuracy, a panel a set."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(line["set"] for line in lines))
    learners = list(dict.fromkeys(line["learner"] for line in lines))
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(4 * across, 3 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for i, learner in enumerate(learners):
            own = [line for line in lines if (line["set"], line["learner"]) == (name, learner)]
            sizes = sorted({line["labels"] for line in own})
            means = [100 * mean(v["accuracy"] for v in own if v["labels"] == n) for n in sizes]
            dashed = "--" if learner in YARDSTICKS else "-"
            panel.plot(sizes, means, dashed, marker="o", markersize=3, color=f"C{i}", label=learner)
        panel.set_title(name)
        panel.set_xscale("log")
        ticks = sorted({line["labels"] for line in lines})
        panel.set_xticks(ticks, map(str, ticks))
        panel.minorticks_off()
    for panel in panels[len(names) :]:
        panel.axis("off")
    panels[0].set_xlabel("labels in all")
    panels[0].set_ylabel("test accuracy, %")
    handles = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)))
    figure.savefig(file)


def main() -> None:
    """Measure what is not there yet, and write tables, JSON and figure."""
    from dami_text.data.hub import no_progress_bars

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the results")
    every = [*LEARNERS, *YARDSTICKS]
    usual = [name for name in every if name not in ON_LONG_TEXTS]
    parser.add_argument("--learners", nargs="+", default=usual, choices=every, metavar="NAME", help=", ".join(every))
    parser.add_argument("--sets", nargs="+", default=[*SETS], choices=[*SETS], metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 50, 100, 200, 500], metavar="N")
    parser.add_argument("--seeds", type=int, default=10, help="draws of labelled texts (default: 10)")
    parser.add_argument("--rows", type=int, default=2500, help="rows of each set (default: 2500)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    no_progress_bars()
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "results.jsonl"
    done = {(line["set"], line["learner"], line["seed"], line["labels"]) for line in read(file)}
    with file.open("a", encoding="utf-8") as stream:
        for line in measured(options, done):
            stream.write(json.dumps(line) + "\n")
            stream.flush()
    lines = [line for line in read(file) if line["set"] in options.sets and line["learner"] in options.learners]
    for metric in ("accuracy", "macro_f1"):
        print(table(lines, metric), end="\n\n")
    (options.output / "results.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    draw(lines, options.output / "few-labels.svg")
    print(f"results  {options.output / 'results.json'}\nfigure   {options.output / 'few-labels.svg'}")


if __name__ == "__main__":
    main()
