"""How a `TextLearner` comes about: of texts and options, or from the folder where it was saved."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dami_text.config.conflicts import WITH_VALIDATION
from dami_text.config.data_options import DataConfig
from dami_text.config.fields import Size
from dami_text.config.registry import AUTO, OWN_CLASSIFIER, OWN_MODELS
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, DamiError, RecordError, arguments_named
from dami_text.learning.inputs import class_names_given, dataset_of, labels_given
from dami_text.learning.saved import read_learner
from dami_text.learning.text_learner import QUERY_SIZE, TextLearner
from dami_text.models.kinds.own import own_name
from dami_text.strategies import QueryStrategy
from dami_text.strategies.function import Choose, as_strategy

#: Options that decide nothing here: there is neither a file of texts nor a split of them, and no end.
WITHOUT_EFFECT = frozenset({"initial_size", "budget", "stop", "stop_report", "validation", *WITH_VALIDATION}) | {
    f.name for f in fields(DataConfig) if f.name not in ("task", "text_column")
}

#: The options that have a place of their own among the arguments, and what they are where they are left out.
DEFAULTS = {"strategy": None, "model": AUTO, "seed": 0, "query_size": QUERY_SIZE}


def make_learner(
    texts: Any,
    class_names: Sequence[str],
    config: RunConfig | None = None,
    strategy: str | QueryStrategy | Choose | None = None,
    *,
    model: Any = AUTO,
    seed: int = 0,
    query_size: int | float | str | Size = QUERY_SIZE,
    labels: Any = None,
    quiet: bool = False,
    **options: Any,
) -> TextLearner:
    """A learner over texts, with the model, the strategy and the other options of the command line by their names.

    Models train without a validation split: every label is trained on.

    Examples:
        >>> texts = ["a good film", "a bad film", "good music", "bad music", "so good", "so bad"]
        >>> labels = ["pos", "neg", None, None, None, None]
        >>> make_learner(texts, ["neg", "pos"], model="cnn", strategy="badge", labels=labels, steps=5)
        TextLearner(6 texts, 2 labelled, 2 classes, model cnn, strategy badge, round 0)

        With `task="multilabel"`, a text has any number of labels:

        >>> texts = ["good food", "cheap food", "so cheap", "good", "it is cheap", "the food"]
        >>> labels = [["food"], ["food", "price"], ["price"], [], None, None]
        >>> learner = make_learner(texts, ["food", "price"], model="linear", labels=labels, task="multilabel")
        >>> learner.tell([4], [["price"]])
        >>> learner.predict(["food", "the food was cheap"]).tolist()
        [['food'], ['food', 'price']]

    Args:
        texts: (N,) strings, in a list, an array, a series or a Dataset's column; or a data frame or a Dataset, whose
            column is called "text" or named by the option `text_column`. Rows are places in it.
        class_names: the classes (C), or the labels that a text has any number of. Labels are names, or places in it.
        config: all options at once, in place of those that follow.
        strategy: its name; a function (model, pool, n, rng) that returns rows; or an object with a method `query`, see
            `QueryStrategy`. The default is dami, or margin for a model without gradients: linear, or of your own.
        model: its name; an object with `fit` and `predict_proba` over texts, such as a Pipeline of scikit-learn; or a
            subclass of PreTrainedModel. "auto" is a frozen sentence encoder where one is at hand that knows the
            language, else linear.
        seed: of all that is random.
        query_size: how many texts are asked for at a time: a count or a share of the texts.
        labels: (N,) that are there already, None where unknown; or the name of their column in `texts`. Of any number
            of labels, each is a list.
        quiet: show no progress bars.
        **options: any other option of a run, such as `learning_rate=1e-3`.

    Raises:
        DataError: there is no text, one is no string, or a label is of no class.
        ConfigError: class names that are not two or more, an option that is unknown or cannot work, or a strategy that
            needs what the model does not give.
    """
    with arguments_named():
        given = _given({"strategy": strategy, "model": model, "seed": seed, "query_size": query_size}, options, config)
        multilabel = given.config.data.is_multilabel
        names = class_names_given(class_names, multilabel=multilabel)
        dataset = dataset_of(texts, given.config.data.text_columns)
        told = None if labels is None else labels_given(labels, texts, names, len(dataset), multilabel=multilabel)
        size = (given.config.loop.query_size or Size(QUERY_SIZE)).of(len(dataset))
        learner = TextLearner(
            dataset,
            names,
            given.config,
            model=given.model,
            strategy=given.strategy,
            query_size=max(1, size),
            quiet=quiet,
        )
    if told is not None and len(told[0]):
        learner.tell(*told)
    return learner


@dataclass(frozen=True)
class _Given:
    """The options, and what was given as an object."""

    config: RunConfig
    model: Any
    strategy: QueryStrategy | None


def _given(named: dict[str, Any], options: dict[str, Any], config: RunConfig | None) -> _Given:
    """The arguments of `make_learner`, checked: `named` are those of DEFAULTS."""
    own = {name: named[name] for name in ("model", "strategy") if not isinstance(named[name], str | None)}
    strategy = as_strategy(own["strategy"]) if "strategy" in own else None
    if config is None:
        if useless := sorted(WITHOUT_EFFECT & options.keys()):
            name = useless[0].replace("_", "-")
            raise ConfigError(f"--{name} has no effect on a learner of your own texts; leave it out")
        named = {name: value for name, value in named.items() if name not in own}
        named |= {"model": own_name(own["model"])} if "model" in own else {}
        if named.get("strategy", "") is None:  # the model's kind decides
            del named["strategy"]
        config = RunConfig.of_options({**named, **options})
    elif not isinstance(config, RunConfig):
        raise ConfigError(f"config is {config!r:.60}; it must be a RunConfig, such as RunConfig.of(seed=1)")
    else:
        changed = [name for name, value in named.items() if name != "strategy" or strategy is None]
        beside = [*(name for name in changed if named[name] != DEFAULTS[name]), *options]
        if beside:
            raise ConfigError(f"config and {', '.join(beside)} are given; give all options in one of the two ways")
    if config.model.model == OWN_CLASSIFIER and config.data.is_multilabel:
        raise ConfigError("--model is a classifier of your own, for one class a text; with --task multilabel name one")
    if "model" not in own and config.model.model in OWN_MODELS:
        raise ConfigError(f"--model {config.model.model} is no name to choose; give the object itself")
    return _Given(config, own.get("model"), strategy)


def load_learner(
    folder: Path | str, *, model: Any = None, strategy: QueryStrategy | Choose | None = None, quiet: bool = False
) -> TextLearner:
    """The learner that `TextLearner.save` wrote; it asks for the rows that it would have asked for.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> learner = make_learner(["good", "bad", "so good", "so bad"], ["neg", "pos"], model="linear")
        >>> learner.tell([0, 1], ["pos", "neg"])
        >>> with TemporaryDirectory() as folder:
        ...     learner.save(folder)
        ...     again = load_learner(folder)
        >>> again.ask(2).rows.tolist() == learner.ask(2).rows.tolist()
        True

    Args:
        folder: what was saved.
        model: the classifier or the class of networks of one's own, where there was one.
        strategy: the strategy of one's own, where there was one.
        quiet: show no progress bars.

    Raises:
        RecordError: the folder holds no learner, or one that is damaged.
        ConfigError: the learner had a model or a strategy of one's own, which is missing here, or the other way round.
    """
    dataset, state = read_learner(Path(folder))
    with arguments_named():
        try:
            config = RunConfig.of_options(state["options"])
            had = {"model": config.model.model in OWN_MODELS, "strategy": state["strategy"] is not None}
            for name, value in (("model", model), ("strategy", strategy)):
                if had[name] != (value is not None):
                    rule = "give it again" if had[name] else "leave it out"
                    what = "had" if had[name] else "had none"
                    raise ConfigError(f"the learner in {folder} {what} a {name} of your own; {rule}, as {name}=...")
            learner = TextLearner(
                dataset,
                class_names_given(state["class_names"], multilabel=config.data.is_multilabel),
                config,
                model=model,
                strategy=None if strategy is None else as_strategy(strategy),
                query_size=int(state["query_size"]),
                quiet=quiet,
            )
            learner.replay(state["events"], state["round"])
        except DamiError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(
                f"{folder} holds a damaged learner ({type(error).__name__}: {error}); restore it"
            ) from error
    return learner
