"""A small review corpus, made up on the spot, in which the label depends on polarity and negation together.

"good" and "not bad" are positive, "bad" and "not good" negative: the text counterpart of the paper's toy data,
sign(x1 * x2). The words alone decide three texts of four; the rest takes the phrase. Some words and phrases are
common and most are rare, so it matters which texts are labelled.
"""

from collections.abc import Sequence
from functools import cache
from random import Random

from datasets import ClassLabel, Dataset, Features, Value

from dami_text.randomness import integer_seed

SIZE = 4000
NEGATED = 0.27  # share of the sentences of common patterns whose polar words are negated
RARE = 0.12  # share of sentences of rare patterns
POLAR_WORDS = {1: 0.25, 2: 0.45, 3: 0.3}  # how many polar words share a slot, and how often
LABEL_NOISE = 0.03


def _words(text: str) -> list[str]:
    return text.split()


# The earlier a word or phrase stands in its list, the more often it is drawn.
WORDS = {
    1: _words(
        "good great funny clever moving brilliant charming gripping fresh witty tender lively convincing subtle "
        "touching polished graceful memorable vivid stirring daring stylish crisp luminous dazzling poignant "
        "masterful radiant sublime nuanced"
    ),
    -1: _words(
        "bad boring dull clumsy weak tedious silly predictable shallow lifeless forced messy bland pointless sloppy "
        "dreary hollow tiresome stale wooden grating muddled unfunny lumbering contrived listless turgid mawkish "
        "vapid leaden"
    ),
}
INTENSIFIERS = ("", "", "", "very ", "really ", "quite ", "truly ", "particularly ")
ASPECTS = _words(
    "plot acting ending story dialogue script music camera pacing cast humour opening soundtrack editing "
    "finale staging narration lighting direction"
)

PLAIN = (
    "the {aspect} is {very}{word}",
    "the {aspect} was {very}{word}",
    "I found the {aspect} {very}{word}",
    "this is a {very}{word} film",
    "there is something {word} about the {aspect}",
    "everyone would call the {aspect} {word}",
)
NEGATING = (
    "the {aspect} is not {very}{word}",
    "the {aspect} was never {very}{word}",
    "the {aspect} isn't {very}{word}",
    "I did not find the {aspect} {word}",
    "this is not a {very}{word} film",
    "the {aspect} is hardly {word}",
    "there is nothing {word} about the {aspect}",
    "the {aspect} is far from {word}",
    "nobody would call the {aspect} {word}",
    "the {aspect} is anything but {word}",
)
# The sign says whether the pattern keeps the polarity of {word}; {other} is a polar word that does not count.
RARE_PATTERNS = (
    (1, "the {aspect} is {other}, but this is a {word} film"),
    (-1, "the {aspect} is {other}, but this is not a {word} film"),
    (-1, "I do not think that the {aspect} of this film is {word}"),
    (1, "nobody can say that the {aspect} is not {word}"),
    (1, "although the {aspect} seems {other}, the film is {word}"),
    (1, "the {aspect} is never less than {word}"),
    (-1, "it is not as if anyone found the {aspect} {word}"),
    (1, "I cannot deny that the {aspect} is {word}"),
    (-1, "the {aspect}, to put it mildly, isn't what I would call {word}"),
)
BEFORE = (
    "we saw it on a rainy Tuesday and ",
    "I had not read the book, but ",
    "after the first half hour ",
    "as my sister said on the way home, ",
    "for a film of this length, ",
    "we never sit in the front row, yet ",
    "compared with the trailer, ",
    "in this second part of the series ",
    "from where I sat ",
)
AFTER = (
    " from start to finish",
    " and it runs for two hours",
    ", as in the director's other films",
    ", and we did not stay for the credits",
    " in the scenes by the sea",
    " and most of it takes place at night",
    ", whatever the posters say",
    ", and I had never heard of the cast",
    " once the train leaves the station",
)


def demo_dataset() -> Dataset:
    """4,000 reviews of one sentence, the same on every machine, made without files or network.

    Examples:
        >>> data = demo_dataset()
        >>> len(data), data.features["label"].names
        (4000, ['negative', 'positive'])

    Returns:
        A Dataset with the columns text: Value("string") and label: ClassLabel(negative, positive), about half
        of each, no text twice. In 3% of the rows the label is the wrong one.
    """
    rng = Random(integer_seed(0, 0, "demo"))
    labels: dict[str, int] = {}
    while len(labels) < SIZE:
        text, polarity = _review(rng)
        noise = rng.random() < LABEL_NOISE
        labels.setdefault(text, int((polarity == 1) != noise))
    features = Features(text=Value("string"), label=ClassLabel(names=["negative", "positive"]))
    return Dataset.from_dict({"text": list(labels), "label": list(labels.values())}, features=features)


def _review(rng: Random) -> tuple[str, int]:
    """A sentence and its polarity, 1 or -1."""
    polarity = rng.choice((1, -1))
    if rng.random() < RARE:
        sign, pattern = rng.choice(RARE_PATTERNS)
    elif rng.random() < NEGATED:
        sign, pattern = -1, _zipf(rng, NEGATING)
    else:
        sign, pattern = 1, _zipf(rng, PLAIN)
    clause = pattern.format(
        aspect=rng.choice(ASPECTS),
        very=rng.choice(INTENSIFIERS),
        word=_polar_words(rng, polarity, " and " if sign == 1 else " or "),
        other=_zipf(rng, WORDS[rng.choice((1, -1))]),
    )
    place = rng.random()
    before = rng.choice(BEFORE) if place < 0.25 else ""
    after = rng.choice(AFTER) if place > 0.65 else ""
    text = f"{before}{clause}{after}."
    return text[0].upper() + text[1:], sign * polarity


def _polar_words(rng: Random, polarity: int, conjunction: str) -> str:
    """One to three words of one polarity, as a list: their company is what word vectors learn polarity from."""
    (count,) = rng.choices(list(POLAR_WORDS), weights=list(POLAR_WORDS.values()))
    *others, last = dict.fromkeys(_zipf(rng, WORDS[polarity]) for _ in range(count))
    return conjunction.join([", ".join(others), last] if others else [last])


def _zipf(rng: Random, items: Sequence[str]) -> str:
    """One of `items`, the k-th with a probability proportional to k^-1.3."""
    return rng.choices(items, weights=_weights(len(items)))[0]


@cache
def _weights(n: int) -> list[float]:
    return [rank**-1.3 for rank in range(1, n + 1)]
