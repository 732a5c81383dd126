"""How many texts of a rare class are probably left among those without a label, by a random sample.

Held-out texts are drawn at random from all texts beforehand, so those of them that are labelled first are a random
sample of the pool, whatever the model has asked for.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dami_text.labeling.labels import Label, numbers_of
from dami_text.labeling.session import Session
from dami_text.learning.hypergeometric import hypergeometric_interval

#: Share of the sample up to which a class is rare, labels that a sample needs, and classes that are told of, at most.
RARE, FEWEST_TEXTS, MOST_CLASSES = 0.1, 20, 5


@dataclass(frozen=True, kw_only=True)
class Unfound:
    """How many texts of a class are without a label, with a 95% interval.

    Attributes:
        name: the class.
        found: its labelled texts.
        value, low, high: how many are left.
        in_sample, n_sample: its texts in the random sample, and the texts of the sample.
    """

    name: str
    found: int
    value: int
    low: int
    high: int
    in_sample: int
    n_sample: int

    def __str__(self) -> str:
        sample = f"{self.in_sample} of {self.n_sample} random texts"
        return f"{self.name}: {self.found} found, {self.low:,} to {self.high:,} probably left (95% interval; {sample})"


def unfound(session: Session, labels: Mapping[int, Label], skipped: set[int]) -> list[Unfound]:
    """The rare classes, rarest first; none before the sample has FEWEST_TEXTS labels or after texts were added.

    The sample is the held-out texts in their order up to the first that nobody has decided on: which of those after it
    have a label may depend on what they are. Texts that are the same count once.
    """
    sample: list[Label] = []
    for row in session.held_out.tolist():
        if row in labels:
            sample.append(labels[row])
        elif row not in skipped:
            break
    if len(sample) < FEWEST_TEXTS or len(session.sources) > 1:
        return []
    n, n_texts = len(sample), session.copies.n_different
    in_sample, found = (Counter(i for label in given for i in numbers_of(label)) for given in (sample, labels.values()))
    rare = [label for label in range(len(session.class_names)) if in_sample[label] <= RARE * n]
    estimates = []
    for label in sorted(rare, key=lambda label: (in_sample[label], found[label]))[:MOST_CLASSES]:
        low, high = hypergeometric_interval(in_sample[label], n, n_texts)
        others = len(labels) - found[label]  # which are surely not of it

        def left(total: int, found: int = found[label], others: int = others) -> int:
            return min(max(total, found), n_texts - others) - found

        estimates.append(
            Unfound(
                name=session.class_names[label],
                found=found[label],
                value=left(round(in_sample[label] / n * n_texts)),
                low=left(low),
                high=left(high),
                in_sample=in_sample[label],
                n_sample=n,
            )
        )
    return estimates
