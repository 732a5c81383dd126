"""A run's stopping criteria: asked in each round about what is recorded of the rounds so far.

All of them share a pass over a stop set: up to 2,000 random texts of the pool that are not labelled at the start. The
line of a round keeps what the next rounds need of it, so that a resumed run decides as one that was not killed.
"""

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.registry import find
from dami_text.config.run import RunConfig
from dami_text.config.stopping import STOPPING, Stop, parse_stop
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.learning.preparation import PreparedData
from dami_text.learning.stopping import (
    STOP_SET,
    EstimatedRecall,
    Evidence,
    StoppingCriterion,
    beyond,
    normalized_entropy,
)
from dami_text.models.inference import predict_probabilities
from dami_text.randomness import numpy_stream
from dami_text.simulation.records import Line

#: The criterion that needs labels of texts that are kept out of training.
GAIN = "gain"


class Stopping:
    """The criteria that the options of a run ask for; `look` asks them after each round's training.

    Attributes:
        criteria: by name and value, such as stable:0.99.
        rows: the stop set (S,), rows of the pool.
        stopped: what says that the run ends with this round, for its line; None where nothing does.

    Raises:
        ConfigError: a criterion that the data do not allow.
    """

    def __init__(self, config: RunConfig, data: PreparedData, start: Sequence[int], rounds: Sequence[Line]) -> None:
        """The criteria of a run in which the rows `start` were labelled first and these rounds are recorded."""
        self.stopped: Line | None = None
        self._batch_size = config.strategy.inference_batch_size
        self._stop = parse_stop(config.loop.stop) if config.loop.stop is not None else None
        self._validation = data.validation
        wanted = [self._stop] if self._stop else []
        if data.validation is None and self._stop is not None and self._stop.name == GAIN:
            raise ConfigError(
                "--stop gain measures on texts that are kept out of training, and there is no validation split; use "
                "--validation split or another criterion"
            )
        if config.loop.stop_report:
            defaults = [(name, kind.default) for name, kind in STOPPING.items()]
            known = [Stop(name, default) for name, default in defaults if default is not None]
            wanted += [stop for stop in known if stop.name != GAIN or data.validation is not None]
        self.criteria = {_key(stop): _criterion(stop, config, data.class_names) for stop in wanted}
        self._held_out: Rows | None = None
        seed = config.loop.seed
        if data.validation is not None and any(stop.name == GAIN for stop in wanted):
            order = numpy_stream(seed, 0, "stopping: held out").permutation(len(data.validation.rows))
            self._held_out = order[:STOP_SET]
        others = np.setdiff1d(np.arange(len(data.train.rows)), np.asarray(start, np.int64))
        self.rows: Rows = numpy_stream(seed, 0, "stop set").permutation(others)[:STOP_SET]
        self._history = [_recorded(line) for line in rounds]

    def look(self, model: PreTrainedModel, pool: Pool, labels: NDArray[np.int64]) -> Line:
        """What a round's line records, of its model and the labels (n,) in the order in which they were asked for."""
        probabilities = predict_probabilities(model, pool.texts, self.rows, self._batch_size)
        unlabeled = ~np.isin(self.rows, pool.labeled)
        entropies = normalized_entropy(probabilities[unlabeled])
        hits = None
        if self._validation is not None and self._held_out is not None:
            rows, truth = (of[self._held_out] for of in (self._validation.rows, self._validation.labels))
            hits = predict_probabilities(model, self._validation.texts, rows, self._batch_size).argmax(axis=1) == truth
        now = Evidence(
            n_labeled=len(labels),
            predictions=probabilities.argmax(axis=1),
            unlabeled=unlabeled,
            mean_entropy=float(entropies.mean()) if len(entropies) else None,
            max_entropy=float(entropies.max()) if len(entropies) else None,
            labels=labels,
            n_texts=len(pool),
            hits=hits,
        )
        values = {name: criterion.value([*self._history, now]) for name, criterion in self.criteria.items()}
        self._history.append(_of_before(now))
        said = {
            name: {"value": _number(values[name]), "stops": beyond(criterion, values[name], criterion.threshold)}
            for name, criterion in self.criteria.items()
        }
        if self._stop is not None and said[_key(self._stop)]["stops"]:
            self.stopped = {"criterion": _key(self._stop), "value": said[_key(self._stop)]["value"]}
        return {"criteria": said, **_packed(now)}


def stopping_of(config: RunConfig, data: PreparedData, start: Sequence[int], rounds: Sequence[Line]) -> Stopping | None:
    """The criteria of a run; None where its options ask for none."""
    if config.loop.stop is None and not config.loop.stop_report:
        return None
    return Stopping(config, data, start, rounds)


def summary(rounds: Sequence[Mapping[str, Line]]) -> list[str]:
    """What the criteria have said, a line for each: which of them ended the run, and where others would have."""
    told = []
    if stopped := rounds[-1].get("stopped"):
        what = criterion_named(stopped["criterion"]).what
        told.append(f"stopped  by {stopped['criterion']}: {what} {stopped['value']:.4g}")
    if "stopping" in rounds[-1]:
        for name in rounds[-1]["stopping"]["criteria"]:
            if not stopped or name != stopped["criterion"]:
                n = next((line["n_labeled"] for line in rounds if line["stopping"]["criteria"][name]["stops"]), None)
                told.append(f"stop     {name}: " + ("never" if n is None else f"would have ended after {n} labels"))
    return told


def criterion_named(text: str) -> StoppingCriterion:
    """The criterion of a name and value, such as stable:0.99."""
    stop = parse_stop(text)
    criterion: StoppingCriterion = find(STOPPING[stop.name].place)(stop.value)
    return criterion


def _criterion(stop: Stop, config: RunConfig, class_names: Sequence[str]) -> StoppingCriterion:
    criterion = criterion_named(_key(stop))
    positive = config.strategy.positive_class
    if isinstance(criterion, EstimatedRecall) and positive is not None:
        if positive not in class_names:
            names = ", ".join(map(repr, class_names))
            raise ConfigError(f"--positive-class is {positive!r}; it must be one of the classes {names}")
        return replace(criterion, label=list(class_names).index(positive))
    return criterion


def _key(stop: Stop) -> str:
    return f"{stop.name}:{stop.value!r}".removesuffix(".0")


def _number(value: float | None) -> float | None:
    """A value as JSON has it: null where nothing can be said."""
    return None if value is None or math.isnan(value) else value


def _of_before(evidence: Evidence) -> Evidence:
    """What later rounds are shown of a round."""
    return Evidence(n_labeled=evidence.n_labeled, predictions=evidence.predictions, hits=evidence.hits)


def _packed(evidence: Evidence) -> Line:
    """The same as text, for the round's line."""
    hits = None if evidence.hits is None else _encoded(np.packbits(evidence.hits).tobytes())
    n_hits = 0 if evidence.hits is None else len(evidence.hits)
    return {"predictions": _encoded(evidence.predictions.astype("<u2").tobytes()), "hits": hits, "n_hits": n_hits}


def _recorded(line: Line) -> Evidence:
    """What `_packed` made of a round."""
    found = line["stopping"]
    hits = None
    if found["hits"] is not None:
        hits = np.unpackbits(np.frombuffer(_decoded(found["hits"]), np.uint8), count=found["n_hits"]).astype(bool)
    return Evidence(
        n_labeled=line["n_labeled"], predictions=np.frombuffer(_decoded(found["predictions"]), "<u2"), hits=hits
    )


def _encoded(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _decoded(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
