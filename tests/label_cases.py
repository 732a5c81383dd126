"""Made-up texts with any number of labels, which their words tell."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: The labels, the words that tell each (of `encoder_cases.PIECES`), and how many of the texts have it.
WORDS = {"looks": ["film", "camera"], "people": ["cast", "ending"], "sound": ["music"], "story": ["plot"]}
SHARES = [0.5, 0.3, 0.2, 0.1]
NAMES = list(WORDS)


def labeled_texts(n: int, seed: int = 0) -> tuple[list[str], NDArray[np.int64]]:
    """n different texts and their labels (n, 4) of 0 and 1."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(NAMES))) < SHARES).astype(np.int64)
    texts = []
    for i, row in enumerate(labels):
        told = [str(rng.choice(WORDS[name])) for name, holds in zip(NAMES, row, strict=True) if holds]
        texts.append(" ".join(rng.permutation([*told, *told, "the", f"{rng.choice(['is', 'and'])}", str(i)])))
    return texts, labels


def write_labeled(file: Path, n: int = 300) -> Path:
    """A file of such texts with lists of names."""
    texts, labels = labeled_texts(n)
    rows = [[name for name, holds in zip(NAMES, row, strict=True) if holds] for row in labels]
    lines = [json.dumps({"text": text, "label": row}) for text, row in zip(texts, rows, strict=True)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
