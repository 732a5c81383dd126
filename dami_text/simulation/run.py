"""One simulated run: from the options to a folder with the records, the learning curve and the model."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from dami_text.config.conflicts import check_stopping
from dami_text.config.metrics import in_words
from dami_text.config.registry import AUTO
from dami_text.config.run import RunConfig
from dami_text.data.labels import label_counts, named
from dami_text.data.pool import Oracle
from dami_text.environment import environment
from dami_text.errors import RecordError
from dami_text.learning.jobs import Trainings, Work, in_turn
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import PreparedData, learner_of, prepare
from dami_text.models.auto import is_own
from dami_text.models.evaluation import compute_metrics, scorer
from dami_text.models.inference import predict_probabilities
from dami_text.models.kinds.automatic import settled
from dami_text.models.loading import holds_adapter, load_classifier
from dami_text.models.scores import ClassReport, results_by_class
from dami_text.models.tasks import ANY_LABELS, ONE_CLASS
from dami_text.processes import Processes, make_accelerator, use_device
from dami_text.publishing.cards import labels_counted, model_card, run_facts
from dami_text.publishing.push import export_code, labeled_dataset
from dami_text.simulation.loop import Round, schedule, simulation
from dami_text.simulation.records import CURVE, MODEL, START, Line, RunFolder
from dami_text.simulation.stopping import stopping_of
from dami_text.strategies import PLACE, Query


def is_finished(folder: RunFolder) -> bool:
    """Whether the folder holds all of a run's rounds: the last one asks for nothing, and no larger budget was given."""
    return bool(folder.rounds) and folder.rounds[-1]["query"] is None and not folder.grows


class Run:
    """A simulated run in a folder; it resumes what the folder holds of it.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> config = RunConfig.of(word_vectors="random", epochs=1, initial_size=10, query_size=5, budget=15)
        >>> with TemporaryDirectory() as folder:
        ...     run = Run(config, Path(folder), save_model=False)
        ...     print([line["n_labeled"] for line in run.rounds()])
        [10, 15]

    Attributes:
        n: the number of texts in the training set.
        sizes: the number of labelled texts of each round.
        folder: the records.
        metric: the name of the metric that stops training early and is drawn.

    Raises:
        DamiError: options, data or folder that cannot work; nothing is written then.
    """

    def __init__(
        self,
        config: RunConfig,
        output_dir: Path,
        overwrite: bool = False,
        *,
        data: PreparedData | None = None,
        trainings: Callable[[ActiveLearner], Trainings] | None = None,
        save_model: bool = True,
    ) -> None:
        """A run of `config` in `output_dir`; runs of a grid share the data and their first model."""
        self._trainings, self._saves_model = trainings, save_model
        if config.model.model == AUTO:  # what is chosen is what the folder records
            use_device(config.training.device, small=False)
            data = data or Processes.all().main_first(lambda: prepare(config))
            config, _ = settled(config, data.train.texts.as_dataset())
        self.folder = RunFolder(output_dir, config, overwrite)
        self.config = config = self.folder.config
        use_device(config.training.device, small=config.model.kind.is_small)
        self.accelerator = make_accelerator(config.training.mixed_precision)
        self._processes = Processes.all()
        self.data = data or self._processes.main_first(lambda: prepare(config))
        self.n = len(self.data.train.rows)
        self.sizes = schedule(**config.sizes_of(self.n), n=self.n)
        if self.folder.grows:
            self.folder.keep(self._n_to_keep())
        if self.folder.rounds and self.folder.rounds[-1].get("stopped"):
            self.sizes = self.sizes[: len(self.folder.rounds)]
        data = self.data
        self.learner = learner_of(
            config,
            data.train.texts,
            data.class_names,
            data.source,
            validation=data.validation,
            labels=data.train.labels,
        )
        self._oracle = Oracle(self.data.train.labels)
        self._pool_counts = label_counts(data.train.labels, len(data.class_names)).tolist()
        self._task = ANY_LABELS if config.data.is_multilabel else ONE_CLASS
        self.metric = config.training.metric
        if not self.folder.rounds:  # runs of versions without this check go on
            check_stopping(config.options(), has_validation=data.validation is not None)
        # An error of the user's own metric comes before the first training.
        scorer(self.metric, data.class_names, multilabel=self._task.multilabel)
        self._replay()
        start = [line["row"] for line in self._asked() if line["round"] == START]
        self._stopping = stopping_of(config, data, start, self.folder.rounds)

    def rounds(self) -> Iterator[Line]:
        """Run what is left, and yield each round's line once it is on disk; the folder is locked meanwhile."""
        return in_turn(self.steps(), self.learner.train_job)

    def steps(self) -> Work[Line, None]:
        """The same, with the trainings left to others (see `learning.jobs`) among the rounds' lines."""
        with ExitStack() as lock:
            self._processes.on_main(lambda: lock.enter_context(self.folder.locked()))
            if len(self.folder.rounds) < len(self.sizes):
                trainings = partial(self._trainings, self.learner) if self._trainings else self.learner.training_jobs
                stop = self._stops if self._stopping else None
                yield from simulation(
                    self.learner, self._oracle, self.sizes, self._evaluate, trainings, self._finish, stop
                )
            elif self._saves_model and self._processes.on_main(lambda: not self.folder.has_model()):
                yield from self.learner.training_jobs()
                self._processes.on_main(partial(self._save_model, self.folder.rounds))
            self._processes.on_main(self._plot)

    def _finish(self, round_: Round) -> Line:
        """Commit a round; its line."""
        line = self._round_line(round_)
        self._processes.on_main(partial(self._record, round_, line))
        return line

    @property
    def n_validation(self) -> int:
        """The labels of validation texts that stop trainings, which are not counted among the labelled ones."""
        validation, validates = self.data.validation, self.config.model.kind.validates(self.config.options())
        return len(validation.rows) if validation is not None and validates else 0

    def _evaluate(self, model: PreTrainedModel) -> dict[str, float]:
        """The model's metrics on the test split; what the round's line has of each class is kept for it."""
        test, size = self.data.test, self.config.strategy.inference_batch_size
        probabilities = predict_probabilities(model, test.texts, test.rows, size)
        self._predicted = self._task.predicted(probabilities)
        self._by_class = results_by_class(probabilities, test.labels, self._predicted)
        names, multilabel = self.data.class_names, self._task.multilabel
        return compute_metrics(probabilities, test.labels, self.metric, names, multilabel=multilabel)

    def _stops(self, model: PreTrainedModel) -> bool:
        """Whether a criterion ends the run with this model; what the criteria say is kept for the round's line."""
        assert self._stopping is not None
        # The main process has the records.
        rows = self._processes.on_main(lambda: np.array([line["row"] for line in self._asked()]))
        self._stopping_said = self._stopping.look(model, self.learner.pool, self._oracle.reveal(rows))
        return self._stopping.stopped is not None

    def _asked(self) -> list[Line]:
        """The lines of all rows that were asked for, in their order."""
        return list({line["row"]: line for line in [*self._first, *self.folder.queries]}.values())

    def _record(self, round_: Round, line: Line) -> None:
        if round_.query is None and self._saves_model:
            self._save_model([*self.folder.rounds, line])
        first = self._first if round_.number == 0 else []
        self.folder.commit(line, [*first, *self._query_lines(round_.number, round_.query)])

    def _n_to_keep(self) -> int:
        """How many rounds of a run with a smaller budget have asked for as many texts as with this one."""
        recorded = [line["n_labeled"] for line in self.folder.rounds]
        alike = [found == wanted for found, wanted in zip(recorded, self.sizes, strict=False)]
        # The last round asked for nothing, and the one before it for what was left.
        return max(0, len(list(takewhile(bool, alike))) - 1)

    def _replay(self) -> None:
        """Tell the learner the labels of the start's rows, which a new run asks for, and of the committed queries."""
        self._first: list[Line] = []  # recorded with round 0
        if all(query["round"] != START for query in self.folder.queries):  # also in folders of versions without them
            self._first = self._query_lines(START, self.learner.ask(self.sizes[0]))
        asked: list[list[int]] = [[] for _ in range(START, len(self.folder.rounds))]
        texts, names = self.data.train.texts, self.data.class_names
        for query in [*self._first, *self.folder.queries]:
            row, recorded = query["row"], (query["id"], query["label"])
            if row >= self.n or (texts.stable_id(row), named(self._oracle.reveal(row), names)) != recorded:
                raise RecordError(
                    f"{self.folder.path} holds a run on other data: its row {row} is {recorded[0]}, labelled "
                    f"{recorded[1]!r}; give the same data to resume it, another --output-dir, or --overwrite to "
                    "replace it"
                )
            asked[query["round"] - START].append(row)
        wanted = np.diff([0, *self.sizes, self.sizes[-1]]).tolist()[: len(asked)]
        found = [len(set(rows)) for rows in asked]
        if found != wanted:
            raise RecordError(
                f"{self.folder.path} is damaged: its start and finished rounds asked for {found} rows, not {wanted}; "
                "restore it, or start again with --overwrite or another --output-dir"
            )
        for rows in filter(None, asked):
            self.learner.tell(rows, self._oracle.reveal(np.array(rows)))

    def _round_line(self, round_: Round) -> Line:
        labels, names = self.learner.labels, self.data.class_names
        several = self._task.multilabel
        report = None if several else ClassReport.of(self._predicted, self.data.test.labels, names)
        without = {"n_without_label": int((labels.sum(axis=1) == 0).sum())} if several else {}
        return {
            "round": round_.number,
            "n_labeled": round_.n_labeled,
            "labeled_fraction": round_.n_labeled / self.n,
            "metrics": round_.metrics,
            "validation": {self.metric: round_.training.validation_score} if self.data.validation else None,
            "n_validation": self.n_validation,
            "seconds": {name: round(value, 3) for name, value in round_.seconds.items()},
            "epochs": round_.training.epochs,
            "steps": round_.training.steps,
            "class_counts": dict(zip(names, label_counts(labels, len(names)).tolist(), strict=True)),
            **without,
            "test": asdict(report) if report else None,
            "by_class": {"pool": self._pool_counts, **self._by_class},
            "query": dict(round_.query.details) if round_.query else None,
            **self._stopping_lines(round_),
            "environment": environment(),
        }

    def _stopping_lines(self, round_: Round) -> Line:
        """What the criteria say, and which of them ends the run; nothing where none is asked."""
        if self._stopping is None:
            return {}
        ends = round_.query is None and round_.n_labeled < self.sizes[-1]
        return {"stopping": self._stopping_said} | ({"stopped": self._stopping.stopped} if ends else {})

    def _query_lines(self, number: int, query: Query | None) -> list[Line]:
        if query is None:
            return []
        texts, names = self.data.train.texts, self.data.class_names
        labels = self._oracle.reveal(query.rows)
        return [
            {
                "round": number,
                "rank": rank,
                "row": int(row),
                "id": texts.stable_id(int(row)),
                "text": texts.text(int(row)),
                "label": named(label, names),
                **reason,
            }
            for rank, (row, label, reason) in enumerate(zip(query.rows, labels, query.reasons, strict=True))
        ]

    def _save_model(self, rounds: Sequence[Line]) -> None:
        def save(path: Path) -> None:
            self.learner.save_pretrained(path)
            with self.learner.predicting() as model:
                self._write_card(path, model, rounds)

        self.folder.save_model(save)

    def _write_card(self, path: Path, model: PreTrainedModel, rounds: Sequence[Line], merged: bool = False) -> None:
        data = self.data
        sizes = {"train": self.n, "test": len(data.test.rows)}
        sizes["validation"] = len(data.validation.rows) if data.validation else 0
        facts = run_facts(
            self.config,
            rounds,
            sizes,
            data.source.commit,
            needs_dami_text=is_own(model),
            long_texts=data.train.texts.long_texts,
            thresholds=getattr(model.config, "moved_thresholds", None),
            merged=merged,
        )
        (path / "README.md").write_text(str(model_card(facts)), encoding="utf-8")

    def export_merged(self) -> None:
        """Save the finished model whole, in the place of its adapter; one that is saved whole is left as it is."""
        if not holds_adapter(self.folder.path / MODEL):
            return
        model, tokenizer = load_classifier(self.folder.path / MODEL, None)

        def save(path: Path) -> None:
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            self._write_card(path, model, self.folder.rounds, merged=True)

        self.folder.save_model(save)

    def export_code(self) -> bool:
        """Put the finished model's code beside it; False where transformers has the code."""
        exported: list[bool] = []

        def save(path: Path) -> None:
            exported.append(export_code(self.folder.path / MODEL, path))
            if not exported[0]:
                shutil.copytree(self.folder.path / MODEL, path)

        self.folder.save_model(save)
        return exported[0]

    def labeled_dataset(self) -> Dataset:
        """What is labelled when the run is finished, in the order in which it was.

        Columns: text, label, id (see `EncodedTexts.stable_id`), round (the first whose model had learnt from it), and
        reason (why it was asked for, in JSON; {} if at random).
        """
        lines, texts = self._asked(), self.data.train.texts
        rows = [line["row"] for line in lines]
        return labeled_dataset(
            [texts.text(row) for row in rows],
            self._oracle.reveal(np.array(rows)),
            self.data.class_names,
            id=[texts.stable_id(row) for row in rows],
            round=[line["round"] + 1 for line in lines],
            reason=[_reason(line) for line in lines],
        )

    def _plot(self) -> None:
        from dami_text.simulation.plots import plot_learning_curve

        data, model, strategy = self.config.data.dataset, self.config.model.model, self.config.strategy.strategy
        plot_learning_curve(
            self.folder.path / CURVE,
            [line["n_labeled"] for line in self.folder.rounds],
            [line["metrics"][self.metric] for line in self.folder.rounds],
            n=self.n,
            title=f"{strategy} on {Path(data).name}, {Path(model).name}, seed {self.config.loop.seed}",
            metric=in_words(self.metric),
            counted=labels_counted([self.n_validation]),
        )


def _reason(query: Line) -> Line:
    """What a query's line says beyond which text it is: why the strategy asked for it."""
    return {name: value for name, value in query.items() if name not in PLACE}
