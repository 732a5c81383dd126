"""A small review corpus, made up on the spot, in which the label depends on polarity and negation together.

"good" and "not bad" are positive, "bad" and "not good" negative: the text counterpart of the paper's toy data,
sign(x1 * x2). No word decides alone, so a bag of words cannot learn it; the phrase does. Some words and phrases
are common and most are rare, so it matters which texts are labelled.
"""

from random import Random

from datasets import ClassLabel, Dataset, Features, Value

from dami_text.randomness import integer_seed

SIZE = 4000
NEGATED = 0.36  # share of the common sentences whose polar word is negated
RARE = 0.13  # share of sentences of a rare pattern
LABEL_NOISE = 0.03

# The earlier in its tuple a word or phrase stands, the more often it is drawn.
WORDS = {
    1: (
        "good great funny clever moving brilliant charming gripping fresh witty tender lively convincing subtle "
        "touching polished graceful memorable vivid stirring daring stylish crisp luminous dazzling poignant "
        "masterful radiant sublime nuanced"
    ).split(),
    -1: (
        "bad boring dull clumsy weak tedious silly predictable shallow lifeless forced messy bland pointless sloppy "
        "dreary hollow tiresome stale wooden grating muddled unfunny lumbering contrived listless turgid mawkish "
        "vapid leaden"
    ).split(),
}
INTENSIFIERS = ("", "", "", "very ", "really ", "quite ", "truly ", "particularly ")
ASPECTS = (
    "plot acting ending story dialogue script music camera work pacing cast humour opening soundtrack editing "
    "finale staging narration lighting direction"
).split()

PLAIN = (
    "the {aspect} is {very}{word}",
    "the {aspect} was {very}{word}",
    "I found the {aspect} {very}{word}",
    "this is a {very}{word} film",
    "there is something {word} about the {aspect}",
    "everyone would call the {aspect} {word}",
    "what {word} {aspect} this film has",
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
# The sign of a rare pattern says whether it keeps {word}'s polarity; {other} is a polar word that does not count.
RARELY = (
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
        sign, pattern = rng.choice(RARELY)
    elif rng.random() < NEGATED:
        sign, pattern = -1, _zipf(rng, NEGATING)
    else:
        sign, pattern = 1, _zipf(rng, PLAIN)
    clause = pattern.format(
        aspect=_zipf(rng, ASPECTS),
        very=rng.choice(INTENSIFIERS),
        word=_zipf(rng, WORDS[polarity]),
        other=_zipf(rng, WORDS[rng.choice((1, -1))]),
    )
    position = rng.random()
    before = _zipf(rng, BEFORE) if position < 0.6 else ""
    after = _zipf(rng, AFTER) if position > 0.4 else ""
    text = f"{before}{clause}{after}."
    return text[0].upper() + text[1:], sign * polarity


def _zipf(rng: Random, items: tuple[str, ...] | list[str]) -> str:
    """One of `items`, the k-th with a probability proportional to 1 / k."""
    return rng.choices(items, weights=[1 / rank for rank in range(1, len(items) + 1)])[0]
