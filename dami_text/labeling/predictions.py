"""What a round's model predicts for texts that are the same in all rounds, in few bytes."""

import numpy as np
from numpy.typing import NDArray

#: The type of a class number.
PREDICTION = np.dtype("<u2")


def packed(predicted: NDArray[np.int64]) -> bytes:
    """The predicted classes (V,), two bytes each; or 0 and 1 for each label (V, C), a bit each, in whole bytes."""
    if predicted.ndim == 1:
        return predicted.astype(PREDICTION).tobytes()
    return np.packbits(predicted.astype(bool), axis=1).tobytes()


def unpacked(content: bytes, n_labels: int | None = None) -> NDArray[np.int64]:
    """The predicted classes (V,) or, of `n_labels` labels, 0 and 1 for each (V, C).

    Examples:
        >>> unpacked(packed(np.array([3, 0]))).tolist()
        [3, 0]
        >>> unpacked(packed(np.array([[0, 1, 1], [0, 0, 0]])), 3).tolist()
        [[0, 1, 1], [0, 0, 0]]
    """
    if n_labels is None:
        return np.frombuffer(content, PREDICTION).astype(np.int64)
    texts = np.frombuffer(content, np.uint8).reshape(-1, -(-n_labels // 8))
    return np.unpackbits(texts, axis=1, count=n_labels).astype(np.int64)
