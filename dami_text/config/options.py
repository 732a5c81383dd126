"""The options of a run: one frozen dataclass a topic, checked once, where they are made (data: `data_options`).

The metadata of the fields is the only help text: the command line, the YAML files and the reference all come from here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from dami_text.config import metrics
from dami_text.config.defaults import (
    BALD_HEAD_DROPOUT,
    BALD_SAMPLES,
    BATCH_SIZE,
    CLUSTERING_MEMORY,
    CLUSTERING_SECONDS,
    DEMO_BUDGET,
    PAPER,
    PATIENCE,
    QUERY_SIZE,
    QUICK_QUERY_SIZE,
    UNCERTAIN,
)
from dami_text.config.fields import Device, Options, Size, flag, option
from dami_text.config.kinds import ModelKind, kind_of
from dami_text.config.registry import LABEL_STRATEGIES, PRETRAINED, STRATEGIES, find
from dami_text.config.stopping import STOPPING, parse_stop

#: The sizes in sessions, see `defaults.session_query_size`.
_IN_SESSIONS = f"{QUICK_QUERY_SIZE}, or {QUERY_SIZE} where a model takes steps"


def _for_encoder(name: str) -> str:
    kind = find(PRETRAINED)
    whole, adapted = (kind.defaults(options)[name] for options in ({}, {"lora": 1}))
    return f"for an encoder {whole}" + (f", with --lora {adapted}" if adapted != whole else "")


@dataclass(frozen=True)
class ModelConfig(Options):
    """The classifier."""

    _argument_group_name: ClassVar[str] = "model"

    model: str = option(
        "cnn",
        "cnn (Kim 2014), bilstm, linear (logistic regression on TF-IDF), a pretrained encoder or decoder (its folder "
        "or Hub id, such as ORG/NAME), or auto: a frozen sentence encoder where one is at hand that knows the "
        "language, else linear; for tables mlp",
    )
    model_revision: str | None = option(None, "the branch, tag or commit of an encoder on the Hub")
    freeze_encoder: bool = option(
        False, "train an encoder's head only, by logistic regression on features that are computed once a run"
    )
    contrastive: bool = option(
        False,
        "fine-tune an encoder on pairs of labelled texts in each round, then find its head by logistic regression: for "
        "few labels (as SetFit)",
    )
    new_head: bool = option(
        False,
        "fine-tune an encoder with a new head even if its own classifies into the data's classes, or some of them, by "
        "name",
    )
    lora: int | None = option(
        None,
        "fine-tune a low-rank adapter (LoRA) of this rank, such as 16, and the head; the encoder itself stays as it is",
    )
    dropout: float = option(
        0.5,
        "dropout before the last layer of cnn and bilstm, and after each hidden layer of mlp, in training and in "
        "bald's samples; encoders have their own",
    )

    @property
    def kind(self) -> ModelKind:
        """What kind of model it is."""
        return kind_of(self.model)

    @property
    def is_regression(self) -> bool:
        """Whether it is a logistic regression on features that no training changes: linear, or a frozen encoder."""
        return self.model == "linear" or self.freeze_encoder

    def _check(self) -> None:
        self.require(bool(self.model.strip()), "model", "cnn, bilstm, or a folder or Hub id of an encoder")
        self.require(0 <= self.dropout < 1, "dropout", "at least 0 and less than 1")
        self.require(not (self.contrastive and self.freeze_encoder), "contrastive", "left out with --freeze-encoder")
        self.require(self.lora is None or self.lora >= 1, "lora", "a rank of at least 1, such as 16")
        for name in ("freeze_encoder", "contrastive"):
            self.require(self.lora is None or not getattr(self, name), "lora", f"left out with {flag(name)}")
        for name in ("model_revision", "freeze_encoder", "contrastive", "new_head", "lora"):
            wanted = f"left out: --model {self.model} is no pretrained encoder"
            self.require(name in self.kind.takes or not getattr(self, name), name, wanted)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Options):
    """How each round's model is trained."""

    _argument_group_name: ClassVar[str] = "training"

    optimizer: Literal["adam", "adamw"] = option(
        "adam", f"adam, whose weight decay is L2, or adamw, whose is decoupled; {_for_encoder('optimizer')}"
    )
    learning_rate: float = option(2e-3, f"the optimizer's learning rate; {_for_encoder('learning_rate')}")
    weight_decay: float = option(0.0, f"the optimizer's weight decay; {_for_encoder('weight_decay')}")
    warmup_steps: int = option(
        0, f"steps over which the learning rate rises from 0 in a line; {_for_encoder('warmup_steps')}"
    )
    train_batch_size: int = option(25, f"texts in a training batch; {_for_encoder('train_batch_size')}")
    gradient_accumulation_steps: int = option(1, "batches whose gradients make a training step")
    epochs: int = option(25, "train at most this many epochs, each followed by an evaluation on the validation split")
    epoch_steps: int = option(10, "an epoch is a pass over the labelled texts, or as many as make this many steps")
    evaluation_steps: int = option(
        25,
        "evaluate within epochs too, about every so many steps; 0: after whole epochs alone; "
        f"{_for_encoder('evaluation_steps')}",
    )
    averaging_steps: int = option(
        50,
        "what is evaluated and kept is a moving average of the weights that the evaluations find, over about so many "
        "steps, or a pass where that is less, but not where an epoch has several passes; 0: the weights themselves; "
        f"{_for_encoder('averaging_steps')}",
    )
    patience: int = option(
        5, "stop after this many evaluations without a higher --metric or lower loss on the validation split"
    )
    metric: str = option(
        "accuracy",
        f"what stops training early and is drawn as the curve: {metrics.WANTED}, or a metric of one's "
        "own: the path or Hub id of a module for evaluate (its code is run); with --task multilabel "
        f"{metrics.WANTED_MULTILABEL}",
    )
    validation: Literal["split", "none"] = option(
        "split",
        "split keeps a tenth of the texts, whose labels stop training early and are not counted, as in the paper; none "
        "leaves these texts in the training split and trains for --steps: its curve counts every label",
    )
    steps: int = option(400, "training steps in all where there is no validation split")
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced weighs each class by the inverse of its count among the labelled texts"
    )
    threshold: Literal["none", "f1"] = option(
        "none",
        "f1: models predict the rarer of two classes, or with --task multilabel each label, from that probability on "
        "at which its cross-validated F1 is highest, in place of one half; for linear and frozen encoders",
    )
    mixed_precision: Literal["no", "fp16", "bf16"] = option("no", "precision of training and of passes, by accelerate")
    device: Device = option(
        "auto",
        "what computes; auto is a GPU where there is one, but for cnn, bilstm and mlp the CPU unless it is a CUDA card",
    )
    distributed_training: bool = option(
        False, "train data-parallel on all processes (results then depend on their number)"
    )

    def _check(self) -> None:
        self.require(0 < self.learning_rate < math.inf, "learning_rate", "greater than 0 and finite")
        self.require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0 and finite")
        self.require(self.warmup_steps >= 0, "warmup_steps", "at least 0")
        for name in ("train_batch_size", "gradient_accumulation_steps", "epochs", "epoch_steps", "patience", "steps"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(self.evaluation_steps >= 0, "evaluation_steps", "at least 0")
        self.require(self.averaging_steps == 0 or self.averaging_steps >= 2, "averaging_steps", "0, or at least 2")
        wanted = f"one of {metrics.WANTED}, or the path or Hub id of a metric; or, with --task multilabel, one of "
        wanted += metrics.WANTED_MULTILABEL
        self.require(metrics.is_known(self.metric) or "/" in self.metric or "\\" in self.metric, "metric", wanted)


@dataclass(frozen=True, kw_only=True)
class StrategyConfig(Options):
    """Which texts are asked for."""

    _argument_group_name: ClassVar[str] = "strategy"

    strategy: str = option(
        "dami",
        f"{', '.join(STRATEGIES)}, or one of your own as package.module:Class; with --task multilabel "
        f"{', '.join(LABEL_STRATEGIES)}, too; for that, and for linear, the default is margin",
    )
    interpretation_target: Literal["probability", "logit"] = option(
        "probability", "dami: differentiate the class's probability, or its log-odds"
    )
    interpretation_class: Literal["auto", "predicted", "all"] = option(
        "auto",
        "dami: the class to differentiate; auto is the positive one of two, the predicted one of more, and with --task "
        "multilabel the most uncertain label",
    )
    interpretation_source: Literal["auto", "words", "features"] = option(
        "auto",
        "dami: differentiate by the embeddings of words, or by a frozen encoder's features, through a small ReLU "
        "network beside its head; auto is features where the encoder is frozen",
    )
    informative_word: Literal["deviation", "norm", "random"] = option(
        "deviation", "dami: a text's word, by deviation from the mean; by norm or at random are ablations"
    )
    distance: Literal["euclidean", "cosine"] = option("euclidean", "dami: the distance of the K-medoids")
    clustering_memory: int = option(
        CLUSTERING_MEMORY,
        "dami: MiB that a matrix of distances may take; with --clustering auto, K-medoids stream or sample where it "
        "would take more",
    )
    clustering_seconds: float = option(
        CLUSTERING_SECONDS,
        "dami: with --clustering auto, about how long the K-medoids may take on one core of usual speed; "
        f"label: {PATIENCE:g}",
    )
    clustering: Literal["auto", "fasterpam", "streamed", "sampled", "alternate", "park-jun"] = option(
        "auto", "dami: how the K-medoids are found; auto chooses by size, park-jun is the paper's"
    )
    label_aggregation: Literal["mean", "max"] = option(
        "mean",
        "margin, entropy, least-confidence with --task multilabel: a text is as uncertain as its labels in the mean, "
        "or as the most uncertain of them",
    )
    uncertain_factor: int = option(
        UNCERTAIN, "cluster-margin and dami-margin: choose among this many times the query size of uncertain texts"
    )
    positive_class: str | None = option(
        None,
        "positives: the class to find (default: of those that have labels, the one that is predicted least); --stop "
        "recall: the class of which texts are found (default: the one with the fewest labels)",
    )
    bald_samples: int = option(BALD_SAMPLES, "bald: samples of the model's dropout")
    bald_head_dropout: float = option(
        BALD_HEAD_DROPOUT,
        "bald: dropout of what the last layer reads, for encoders and decoders that have no dropout of their own",
    )
    egl_parameters: Literal["all", "head"] = option("all", "egl: all weights, or the last layer's")
    inference_batch_size: int = option(
        BATCH_SIZE,
        "texts in a batch of predictions or interpretations; on a CUDA card as many as keep it busy",
    )
    pool_subsample: int | None = option(
        None,
        "consider only this many of the unlabelled texts in each round, and at the start where the strategy chooses it "
        "(default: all)",
    )
    pool_subsample_by: Literal["random", "anchors"] = option(
        "random",
        "which texts --pool-subsample considers: random ones, or anchors: as many for each class, those most like some "
        "of its labelled texts, which finds rare classes; for frozen encoders and linear, and random at the start",
    )

    @property
    def interprets_features(self) -> bool:
        """Whether the strategy differentiates a frozen encoder by its features."""
        return self.strategy in ("dami", "dami-kcenter", "dami-margin") and self.interpretation_source != "words"

    def _check(self) -> None:
        known = (*STRATEGIES, *LABEL_STRATEGIES)
        wanted = f"one of {', '.join(known)}, or package.module:Class"
        self.require(self.strategy in known or ":" in self.strategy, "strategy", wanted)
        self.require(self.bald_samples >= 1, "bald_samples", "at least 1")
        wanted = "greater than 0 and less than 1"
        self.require(0 < self.bald_head_dropout < 1, "bald_head_dropout", wanted)
        self.require(self.clustering_seconds > 0, "clustering_seconds", "greater than 0")
        for name in ("clustering_memory", "inference_batch_size", "uncertain_factor"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(self.pool_subsample is None or self.pool_subsample >= 1, "pool_subsample", "at least 1")


@dataclass(frozen=True, kw_only=True)
class LoopConfig(Options):
    """How many texts are labelled, and when."""

    _argument_group_name: ClassVar[str] = "loop (a number with a decimal point is a share of the training set)"

    seed: int = option(0, "seed of everything that is random")
    cold_start: Literal["random", "typical", "described", "kmeans-features", "strategy", "balanced", "auto"] = option(
        "random",
        "the texts labelled at the start: at random, the most typical of clusters of a frozen encoder's features, as "
        "many for each class by their likeness to --describe, the nearest to the means of the untrained model's "
        "features, those that the strategy asks of an encoder whose own head has the classes, or as many of each class "
        "(a simulation alone can know them); auto, which is the default of label, is described where there are "
        "descriptions, typical for a frozen encoder, else random",
    )
    describe: list[str] | None = option(
        None,
        'what texts of each class are like, as NAME="praise, would watch again", or a file of lines NAME: TEXT, for '
        "--cold-start described, which this implies; a class that is left out is described by its name",
    )
    init_model: str | None = option(
        None, "the folder of a trained classifier, from whose predictions the strategy chooses the texts of the start"
    )
    initial_size: Size | None = option(
        None,
        f"texts labelled at the start; in a session {_IN_SESSIONS} (default: {PAPER['initial_size']}, as in the paper)",
    )
    query_size: Size | None = option(
        None, f"texts labelled a round; in a session {_IN_SESSIONS} (default: {PAPER['query_size']})"
    )
    budget: Size | None = option(None, f"texts labelled in all (default: {PAPER['budget']}; for demo {DEMO_BUDGET})")
    stop: str | None = option(
        None,
        f"end a run before its budget by a criterion, as NAME or NAME:VALUE: {', '.join(STOPPING)} (see the guide "
        '"Check labels, and know when to stop")',
    )
    stop_report: bool = option(False, "record in each round which of these criteria would have ended the run by then")

    def _check(self) -> None:
        self.require(0 <= self.seed < 2**32, "seed", "from 0 to 4294967295")
        if self.init_model is not None:
            free = self.cold_start in ("random", "auto")
            self.require(free, "cold_start", "left out where --init-model makes the first query")
        given = self.describe is not None
        self.require(given or self.cold_start != "described", "cold_start", "given with --describe")
        fits = not given or self.cold_start in ("described", "auto")
        self.require(fits, "cold_start", "described or left out where --describe makes the first query")
        if self.stop is not None:
            parse_stop(self.stop)
        for name in ("initial_size", "query_size", "budget"):
            size = getattr(self, name)
            if size is not None:
                wanted = "in (0, 1] as a share of the training set, or a count of at least 1"
                self.require(0 < size.value <= 1 if size.is_share else size.value >= 1, name, wanted)
