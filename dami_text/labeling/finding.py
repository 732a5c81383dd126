"""Texts that a person asks for: those most like a text, and those that the model takes for a class.

They are marked in the queue by their kind. Held-out texts are never among them, so the measured accuracy stays that on
texts that were drawn at random.
"""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dami_text.data.ids import Rows
from dami_text.data.letters import word_pattern
from dami_text.labeling.pool_scores import FILE, PoolScores, guess_of
from dami_text.labeling.session import Session
from dami_text.labeling.store.queues import Kind, QueueItem
from dami_text.randomness import numpy_stream

BATCH = 20  # texts at most that come at one request
MOST_COMPARED = 100_000  # texts; of larger pools so many are drawn at random
CHARACTERS = 1_000  # of a text that are compared
DIMENSIONS = 2**20  # that words are hashed to: no vocabulary grows with the pool


class Finder:
    """Finds unlabelled texts of a session that nobody has before them.

    Texts are compared by the features of a frozen encoder, once it has read them, and by TF-IDF of their words until
    then and for other models.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._words: tuple[str, WordVectors] | None = None
        self._scores: tuple[tuple[int, int, int] | None, PoolScores | None] = (None, None)

    def similar(self, row: int, annotator: str) -> list[QueueItem]:
        """The texts most like that of a row, the most similar first: at most BATCH, none that share nothing with it."""
        scores = self.scores()
        place = None if scores is None else scores.place(row)
        if scores is not None and place is not None and scores.features.shape[1]:
            rows, similarity = scores.rows, _cosines(scores.features, place)
        else:
            words = self.words()
            rows, similarity = words.rows, words.similarity(self._session.text(row))
        similarity = np.where(self._is_open(rows, annotator, also=[row]), similarity, 0)
        best = _highest(similarity)
        reasons = [{"strategy": "similar", "similarity": round(float(similarity[i]), 3)} for i in best]
        return self._items(rows[best], "similar", reasons)

    def likely(self, label: int, annotator: str) -> list[QueueItem]:
        """Texts that the latest model most likely takes for a class: at most BATCH, none before there is a model."""
        scores = self.scores()
        if scores is None:
            return []
        probabilities = scores.probabilities[:, label].astype(float)
        best = _highest(np.where(self._is_open(scores.rows, annotator), probabilities, 0))
        reasons = [{"strategy": "likely", "class": label, "chance": round(float(probabilities[i]), 4)} for i in best]
        return self._items(scores.rows[best], "likely", reasons)

    def scores(self) -> PoolScores | None:
        """The latest model's scores, read again when they have changed."""
        try:
            found = (self._session.folder / FILE).stat()
            version = (found.st_mtime_ns, found.st_size, len(self._session.class_names))
        except OSError:
            return None
        with self._lock:
            if self._scores[0] != version:
                self._scores = (version, PoolScores.load(self._session))
            return self._scores[1]

    def words(self) -> "WordVectors":
        """The pool's TF-IDF, made when it is first asked for, and again when texts were added."""
        with self._lock:
            name = self._session.pool_name
            if self._words is None or self._words[0] != name:
                self._words = (name, WordVectors(self._session))
            return self._words[1]

    def _is_open(self, rows: Rows, annotator: str, also: Iterable[int] = ()) -> NDArray[np.bool_]:
        """Whether each row (R,) may be asked for: not decided on, held out, a copy, with others, or one of `also`."""
        store = self._session.store
        closed = np.zeros(len(self._session), bool)
        closed[[*self._session.held_out, *self._session.copies.others]] = True
        closed[[*store.decided(), *store.leased_to_others(annotator), *also]] = True
        return ~closed[rows]

    def _items(self, rows: Rows, kind: Kind, reasons: list[dict[str, Any]]) -> list[QueueItem]:
        scores = self.scores()
        places = [None if scores is None else scores.place(int(row)) for row in rows]
        return self._session.items(
            rows.tolist(),
            kind,
            [
                reason
                if scores is None or place is None
                else reason | guess_of(scores.probabilities[place], multilabel=self._session.multilabel)
                for reason, place in zip(reasons, places, strict=True)
            ],
        )


class WordVectors:
    """The sublinear TF-IDF of the words of at most MOST_COMPARED texts of a session, each cut to CHARACTERS.

    Attributes:
        rows: (R,) of the pool.
    """

    def __init__(self, session: Session) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        n = len(session)
        rng = numpy_stream(session.seed, 0, "compared texts")
        self.rows: Rows = np.arange(n) if n <= MOST_COMPARED else np.sort(rng.choice(n, MOST_COMPARED, replace=False))
        self._hashing = HashingVectorizer(
            n_features=DIMENSIONS, alternate_sign=False, norm=None, token_pattern=word_pattern(), dtype=np.float32
        )
        self._weighting = TfidfTransformer(sublinear_tf=True)
        texts = session.texts if n <= MOST_COMPARED else session.texts.select(self.rows)
        beginnings = (text[:CHARACTERS] for batch in texts.iter(1_000) for text in batch["text"])
        self._matrix = sparse.csr_matrix(self._weighting.fit_transform(self._hashing.transform(beginnings)))

    def similarity(self, text: str) -> NDArray[np.float64]:
        """The cosine (R,) of each text's vector and that of `text`."""
        vector = self._weighting.transform(self._hashing.transform([text[:CHARACTERS]]))
        found: NDArray[np.float64] = (self._matrix @ vector.T).toarray()[:, 0].astype(float)
        return found


def _cosines(features: NDArray[np.float16], place: int) -> NDArray[np.float64]:
    """The cosine (R,) of each row of features (R, H) and that at `place`."""
    vectors = features.astype(np.float32)
    vectors -= vectors.mean(axis=0)  # encoders' features share a direction that tells nothing
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    found: NDArray[np.float64] = (vectors @ vectors[place] / lengths / lengths[place]).astype(float)
    return found


def _highest(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places of the BATCH highest scores (R,) above 0, the highest first; of equal ones the first."""
    best = np.argsort(-scores, kind="stable")[:BATCH]
    return best[scores[best] > 0]
