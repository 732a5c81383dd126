"""One simulated run: from the options to a folder with the records, the learning curve and the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dami_text.active_learning import ActiveLearner, Round, schedule, simulate
from dami_text.config import RunConfig
from dami_text.data.pool import EncodedTexts, LabeledTexts, Oracle
from dami_text.data.sources import load_source
from dami_text.data.splits import split_source
from dami_text.data.tabular import EncodedTable, TableEncoder, load_table
from dami_text.data.tokenization import build_tokenizer, encode
from dami_text.data.word_vectors import Vectors, build_word_vectors
from dami_text.errors import ConfigError, RecordError
from dami_text.evaluation import evaluate_model
from dami_text.models import build_mlp, build_model
from dami_text.processes import Processes, make_accelerator
from dami_text.randomness import numpy_stream
from dami_text.records import CURVE, Line, RunFolder
from dami_text.strategies import build_strategy


@dataclass(frozen=True)
class PreparedData:
    """What a run works on, decided by the data options and the seed alone."""

    train: LabeledTexts
    validation: LabeledTexts | None
    test: LabeledTexts
    class_names: list[str]
    encoder: PreTrainedTokenizerFast | TableEncoder
    vectors: Vectors | None  # of a tokenizer's words


def prepare(config: RunConfig) -> PreparedData:
    """Load the data set, split it, and build on the training split what encodes texts or rows, and the word vectors."""
    data = _prepare_table(config) if config.data.task == "tabular" else _prepare_texts(config)
    if config.training.metric == "roc_auc" and len(data.class_names) != 2:
        raise ConfigError(
            f"--metric roc_auc is for two classes, and {config.data.dataset!r} has {len(data.class_names)}; "
            "use --metric accuracy"
        )
    return data


def _prepare_table(config: RunConfig) -> PreparedData:
    splits = split_source(load_table(config.data, config.tabular), config.data.splits, config.loop.seed)
    encoder = TableEncoder.fit(splits.train, config.tabular.hashed_features)

    def labeled_rows(dataset: Dataset) -> LabeledTexts:
        labels = dataset.with_format("numpy")["label"][:].astype(np.int64)
        return LabeledTexts(EncodedTable(dataset, encoder.features(dataset)), np.arange(len(labels)), labels)

    return PreparedData(
        labeled_rows(splits.train),
        labeled_rows(splits.validation) if splits.validation else None,
        labeled_rows(splits.test),
        splits.train.features["label"].names,
        encoder,
        None,
    )


def _prepare_texts(config: RunConfig) -> PreparedData:
    seed = config.loop.seed
    splits = split_source(load_source(config.data), config.data.splits, seed)
    tokenizer = build_tokenizer(splits.train, config.tokenization)

    def labeled_texts(dataset: Dataset) -> LabeledTexts:
        encoded = encode(dataset, tokenizer)
        labels = encoded.data.column("label").to_numpy().astype(np.int64)
        return LabeledTexts(EncodedTexts(encoded, tokenizer), np.arange(len(labels)), labels)

    train = labeled_texts(splits.train)
    return PreparedData(
        train,
        labeled_texts(splits.validation) if splits.validation else None,
        labeled_texts(splits.test),
        splits.train.features["label"].names,
        tokenizer,
        build_word_vectors(train.texts, config.word_vectors, seed),
    )


def make_learner(texts: Sequence[str], class_names: Sequence[str], config: RunConfig | None = None) -> ActiveLearner:
    """A learner over texts without labels, with the tokenizer, word vectors, model and strategy that the options name.

    Labels told to it are places in `class_names`; rows are places in `texts`. There is no validation split: models
    train for a fixed number of steps.
    """
    config = config or RunConfig()
    if config.data.task != "text":
        raise ConfigError(f"--task is {config.data.task}; make_learner takes texts, and so --task text")
    dataset = Dataset.from_dict({"text": list(texts)})
    tokenizer = build_tokenizer(dataset, config.tokenization)
    encoded = EncodedTexts(encode(dataset, tokenizer), tokenizer)
    return _learner(
        config, encoded, None, class_names, build_word_vectors(encoded, config.word_vectors, config.loop.seed)
    )


def _learner(
    config: RunConfig,
    texts: EncodedTexts,
    validation: LabeledTexts | None,
    class_names: Sequence[str],
    vectors: Vectors | None,
) -> ActiveLearner:
    new_model: Callable[[], PreTrainedModel]
    if isinstance(texts, EncodedTable):
        new_model = partial(build_mlp, class_names, texts.matrix.shape[1])
    else:
        assert vectors is not None
        new_model = partial(build_model, config.model, class_names, texts.tokenizer, vectors)
    return ActiveLearner(
        texts,
        new_model,
        build_strategy(config.strategy),
        validation,
        config.training,
        config.loop.seed,
    )


class Run:
    """A simulated run in a folder; it resumes what the folder holds of it.

    Attributes:
        n: the number of texts in the training set.
        metric: the name of what early stopping and the learning curve go by.
        sizes: the number of labelled texts of each round.
        folder: the records.

    Raises:
        DamiError: options, data or folder that cannot work; nothing is written then.
    """

    def __init__(self, config: RunConfig, output_dir: Path, overwrite: bool = False) -> None:
        self.config = config
        self.folder = RunFolder(output_dir, config, overwrite)
        self.accelerator = make_accelerator(config.training.mixed_precision)
        self._processes = Processes.all()
        self.data = self._processes.main_first(lambda: prepare(config))
        self.n = len(self.data.train.rows)
        self.metric = config.training.metric
        self.sizes = schedule(**config.sizes, n=self.n)
        data = self.data
        self.learner = _learner(config, data.train.texts, data.validation, data.class_names, data.vectors)
        self._oracle = Oracle(self.data.train.labels)
        self._replay()

    def rounds(self) -> Iterator[Line]:
        """Run what is left, and yield each round's line once it is on disk."""
        if len(self.folder.rounds) < len(self.sizes):
            yield from self._remaining_rounds()
        elif self._processes.on_main(lambda: not self.folder.has_model()):
            self.learner.train()
            self._processes.on_main(self._save_model)
        self._processes.on_main(self._plot)

    def _remaining_rounds(self) -> Iterator[Line]:
        evaluate = partial(evaluate_model, data=self.data.test, batch_size=self.config.strategy.inference_batch_size)
        for round_ in simulate(self.learner, self._oracle, self.sizes, evaluate):
            line = self._round_line(round_)
            self._processes.on_main(partial(self._record, round_, line))
            yield line

    def _record(self, round_: Round, line: Line) -> None:
        if round_.query is None:
            self._save_model()
        self.folder.commit(line, self._query_lines(round_))

    def _replay(self) -> None:
        """Tell the learner the initial labels and those of the committed queries."""
        first = numpy_stream(self.config.loop.seed, 0, "initial rows").choice(self.n, self.sizes[0], replace=False)
        self.learner.tell(first, self._oracle.reveal(first))
        asked: list[list[int]] = [[] for _ in self.folder.rounds]
        for query in self.folder.queries:
            row = query["row"]
            if row >= self.n or self.data.train.texts.stable_id(row) != query["id"]:
                raise RecordError(
                    f"{self.folder.path} holds a run on other data: its row {row} is {query['id']}; give the same data "
                    "to resume it, another --output-dir, or --overwrite to replace it"
                )
            asked[query["round"]].append(row)
        wanted = [*np.diff(self.sizes).tolist(), 0][: len(asked)]
        found = [len(set(rows)) for rows in asked]
        if found != wanted:
            raise RecordError(
                f"{self.folder.path} is damaged: its finished rounds asked for {found} rows, not {wanted}; restore it, "
                "or start again with --overwrite or another --output-dir"
            )
        for rows in filter(None, asked):
            self.learner.tell(rows, self._oracle.reveal(np.array(rows)))

    def _round_line(self, round_: Round) -> Line:
        labels = np.bincount(self.learner.labels, minlength=len(self.data.class_names))
        return {
            "round": round_.number,
            "n_labeled": round_.n_labeled,
            "labeled_fraction": round_.n_labeled / self.n,
            "metrics": round_.metrics,
            "validation": {self.metric: round_.training.validation_score} if self.data.validation else None,
            "seconds": {name: round(value, 3) for name, value in round_.seconds.items()},
            "epochs": round_.training.epochs,
            "steps": round_.training.steps,
            "class_counts": dict(zip(self.data.class_names, labels.tolist(), strict=True)),
            "query": dict(round_.query.details) if round_.query else None,
        }

    def _query_lines(self, round_: Round) -> list[Line]:
        if round_.query is None:
            return []
        texts, names = self.data.train.texts, self.data.class_names
        labels = self._oracle.reveal(round_.query.rows)
        return [
            {
                "round": round_.number,
                "rank": rank,
                "row": int(row),
                "id": texts.stable_id(int(row)),
                "text": texts.text(int(row)),
                "label": names[label],
                **reason,
            }
            for rank, (row, label, reason) in enumerate(
                zip(round_.query.rows, labels, round_.query.reasons, strict=True)
            )
        ]

    def _save_model(self) -> None:
        def save(path: Path) -> None:
            self.learner.trained_model().save_pretrained(path)
            self.data.encoder.save_pretrained(path)

        self.folder.save_model(save)

    def _plot(self) -> None:
        from dami_text.experiments.plots import plot_learning_curve

        data, model, strategy = self.config.data.dataset, self.config.model.model, self.config.strategy.strategy
        plot_learning_curve(
            self.folder.path / CURVE,
            [line["n_labeled"] for line in self.folder.rounds],
            [line["metrics"][self.metric] for line in self.folder.rounds],
            self.n,
            f"{strategy} on {Path(data).name}, {model}, seed {self.config.loop.seed}",
            self.metric,
        )
