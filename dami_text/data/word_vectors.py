"""Word vectors that the CNN and the BiLSTM start from: (V, D) float32, a row a token id of the vocabulary."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dami_text.config.data_options import WordVectorConfig
from dami_text.data.cache import cached_array
from dami_text.data.letters import LETTERS_WITHOUT_SPACES
from dami_text.data.ppmi import SPREAD, ppmi_vectors
from dami_text.data.ppmi import WINDOW as PPMI_WINDOW
from dami_text.data.texts import EncodedTexts
from dami_text.errors import ConfigError, DataError
from dami_text.randomness import integer_seed, numpy_stream

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

#: What `--word-vectors` names beside files.
METHODS = ("auto", "word2vec", "ppmi", "random")

#: word2vec has learned to tell words apart where two words of the texts have a lower mean cosine than this
#: (docs/guides/models.md has what it was chosen by).
APART = 0.45

#: Of fewer words it has learned nothing at all.
FEW_WORDS = 20_000

WINDOW, EPOCHS = 5, 10
LONGEST_SENTENCE = 10_000  # gensim silently drops what comes after


def build_word_vectors(texts: EncodedTexts, config: WordVectorConfig, seed: int, spread: float = SPREAD) -> Vectors:
    """Vectors (V, D) for the vocabulary of `texts`' tokenizer; zero for padding and for unknown words.

    Those of word2vec and ppmi are cached by content, in the folder dami_text of the Hugging Face cache. `spread` is the
    standard deviation that suits the model best, which `auto` gives to vectors of ppmi and to random ones.

    Raises:
        ConfigError: `--word-vectors` names neither a method nor a file, or needs gensim, which is not installed.
        DataError: the file cannot be read as word2vec's text or binary format.
    """
    if config.word_vectors == "auto":
        method = suitable_method(texts, config, seed)
        vectors = build_word_vectors(texts, replace(config, word_vectors=method), seed)
        return vectors if method == "word2vec" else vectors * np.float32(spread / SPREAD)
    size = len(texts.tokenizer)
    special = [texts.tokenizer.pad_token_id, texts.tokenizer.unk_token_id]
    if config.word_vectors == "word2vec":
        vectors = _cached_word2vec(texts, config, seed)
    elif config.word_vectors == "ppmi":
        vectors = _cached(f"ppmi {PPMI_WINDOW}", texts, config, seed, lambda: _ppmi(texts, config, seed))
    elif config.word_vectors == "random":
        vectors = _random(numpy_stream(seed, 0, "word vectors"), size, config.word_vector_dim, scale=0.25)
    elif Path(config.word_vectors).is_file():
        require_gensim(config)
        vectors = _from_file(Path(config.word_vectors), texts.tokenizer.get_vocab(), seed)
    else:
        raise ConfigError(
            f"--word-vectors is {config.word_vectors!r}; it must be {', '.join(METHODS)} or an existing file"
        )
    vectors[special] = 0
    return vectors


def suitable_method(texts: EncodedTexts, config: WordVectorConfig, seed: int) -> str:
    """What `auto` is for these texts: random where most words are letters, whose company says little of what they mean.

    Otherwise it is word2vec, unless there are too few texts: then all its vectors point in about one direction.
    """
    rows = _drawn_texts(texts, config, seed)
    counts = np.zeros(len(texts.tokenizer), np.int64)
    for row in rows:
        counts += np.bincount(texts.token_ids(int(row)), minlength=len(counts))
    counts[[texts.tokenizer.pad_token_id, texts.tokenizer.unk_token_id]] = 0
    of_letter = re.compile(f"[{LETTERS_WITHOUT_SPACES}].*")
    letters = [i for word, i in texts.tokenizer.get_vocab().items() if of_letter.fullmatch(word)]
    if counts[letters].sum() > counts.sum() / 2:
        return "random"
    if counts.sum() < FEW_WORDS or find_spec("gensim") is None:
        return "ppmi"
    return "word2vec" if mean_cosine(_cached_word2vec(texts, config, seed), counts) < APART else "ppmi"


def mean_cosine(vectors: Vectors, counts: NDArray[np.int64]) -> float:
    """The mean cosine of the vectors (V, D) of two words that are drawn at random, each as often as `counts` (V,)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = counts @ (vectors / np.maximum(lengths, 1e-12)) / max(1, counts.sum())
    return float(mean @ mean)


def _random(rng: np.random.Generator, n: int, dim: int, scale: float) -> Vectors:
    """Vectors (n, dim), uniform in [-scale, scale] (Kim 2014)."""
    return rng.uniform(-scale, scale, (n, dim)).astype(np.float32)


class Sentences:
    """The texts as lists of words, unknown ones left out: what gensim iterates over, several times."""

    def __init__(self, texts: EncodedTexts, rows: NDArray[np.int64]) -> None:
        self.texts, self.rows = texts, rows
        # gensim takes an integer for a position, so words are named by their ids in writing.
        self.names = [str(i) for i in range(len(texts.tokenizer))]

    def __iter__(self) -> Iterator[list[str]]:
        unknown = self.texts.tokenizer.unk_token_id
        for row in self.rows:
            words = [self.names[i] for i in self.texts.token_ids(row).tolist() if i != unknown]
            for start in range(0, len(words), LONGEST_SENTENCE):
                yield words[start : start + LONGEST_SENTENCE]


def _cached_word2vec(texts: EncodedTexts, config: WordVectorConfig, seed: int) -> Vectors:
    require_gensim(config)
    import gensim

    kind = f"{WINDOW} {EPOCHS} {gensim.__version__}"
    return _cached(kind, texts, config, seed, lambda: _word2vec(texts, config, seed))


def _cached(
    kind: str, texts: EncodedTexts, config: WordVectorConfig, seed: int, make: Callable[[], Vectors]
) -> Vectors:
    """The vectors that `make` makes, from the cache where they were made before; `kind` says how."""
    options = f"{config.word_vector_dim} {config.word_vector_texts} {seed} {kind}"
    vocabulary = f"{len(texts.tokenizer)} {texts.tokenizer.unk_token_id}"  # words are learned from by their ids
    content = hashlib.sha256(f"{options} {vocabulary}".encode())
    for part in texts.token_id_blocks():
        content.update(part)
    return np.array(cached_array("word_vectors", content.hexdigest()[:32], make))


def _drawn_texts(texts: EncodedTexts, config: WordVectorConfig, seed: int) -> NDArray[np.int64]:
    """The rows of the texts to learn from."""
    if len(texts) <= config.word_vector_texts:
        return np.arange(len(texts))
    rng = numpy_stream(seed, 0, "word2vec texts")
    logger.info("word vectors are made of %d of %d texts", config.word_vector_texts, len(texts))
    return np.sort(rng.choice(len(texts), config.word_vector_texts, replace=False))


def _ppmi(texts: EncodedTexts, config: WordVectorConfig, seed: int) -> Vectors:
    """Vectors by counting (see `ppmi`); words without company are drawn."""
    size, unknown = len(texts.tokenizer), texts.tokenizer.unk_token_id
    words = (texts.token_ids(int(row)) for row in _drawn_texts(texts, config, seed))
    vectors = ppmi_vectors(
        (w[w != unknown] for w in words), size, config.word_vector_dim, integer_seed(seed, 0, "ppmi")
    )
    alone = ~vectors.any(axis=1)
    rng = numpy_stream(seed, 0, "word vectors")
    vectors[alone] = _random(rng, size, config.word_vector_dim, scale=0.25)[alone]
    return vectors


def _word2vec(texts: EncodedTexts, config: WordVectorConfig, seed: int) -> Vectors:
    """Skip-gram with negative sampling (Mikolov et al. 2013), on one thread: the order of updates decides the bits."""
    from gensim.models import Word2Vec

    sentences = Sentences(texts, _drawn_texts(texts, config, seed))
    model = Word2Vec(
        sg=1,
        vector_size=config.word_vector_dim,
        window=WINDOW,
        epochs=EPOCHS,
        min_count=1,
        workers=1,
        seed=integer_seed(seed, 0, "word2vec"),
    )
    model.build_vocab(sentences)
    rng = numpy_stream(seed, 0, "word vectors")
    vectors = _random(rng, len(texts.tokenizer), config.word_vector_dim, scale=0.5 / config.word_vector_dim)
    if model.wv.key_to_index:
        model.train(sentences, total_examples=model.corpus_count, epochs=model.epochs)
        vectors[[int(name) for name in model.wv.index_to_key]] = model.wv.vectors
    return vectors


def require_gensim(config: WordVectorConfig) -> None:
    """Raise ConfigError if the word vectors need gensim, and it is not installed."""
    needed = config.word_vectors == "word2vec" or Path(config.word_vectors).is_file()
    if needed and find_spec("gensim") is None:
        raise ConfigError(
            f"--word-vectors {config.word_vectors} needs gensim, which is not installed; install it (pip install "
            "gensim; there is none for Python 3.14 yet), or give --word-vectors ppmi"
        )


def _from_file(path: Path, vocabulary: dict[str, int], seed: int) -> Vectors:
    """The file's vectors; words that it lacks are drawn with the file's spread (Kim 2014)."""
    from gensim.models import KeyedVectors

    found = None
    for binary in (False, True):
        try:
            found = KeyedVectors.load_word2vec_format(path, binary=binary)
            break
        except (ValueError, EOFError, IndexError, MemoryError):  # a first line may call for any amount of memory
            continue
    if found is None or not found.vectors.size:
        raise DataError(
            f"{path} holds no word vectors; wanted word2vec's text or binary format, "
            "whose first line is the number of words and of dimensions"
        )
    if not np.isfinite(found.vectors).all():
        raise DataError(f"{path} has vectors with NaN or infinite numbers; leave those words out")
    spread = float(found.vectors.std()) * 3**0.5
    vectors = _random(numpy_stream(seed, 0, "word vectors"), len(vocabulary), found.vector_size, spread)
    known = {word: i for word, i in vocabulary.items() if word in found}
    for word, i in known.items():
        vectors[i] = found[word]
    logger.info("%s has vectors for %d of the %d words of the vocabulary", path, len(known), len(vocabulary))
    return vectors
