"""Letters, and what a word is, for regular expressions."""

import unicodedata

#: Letters of scripts without spaces between words, those of `tokenization.LETTER_WITHOUT_SPACES`: re has no \p{Han}.
LETTERS_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b"
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf"
    "\ua9e0-\ua9fe\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff6f\uff71-\uff9d\U00020000-\U0003ffff"
)


def word_pattern() -> str:
    """A regular expression of words: a letter of a script without spaces, or two or more others, with their marks."""
    marks = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M")
    letter = f"[{LETTERS_WITHOUT_SPACES}]"
    return rf"{letter}[{marks}ー]*|(?:(?!{letter})[\w{marks}]){{2,}}"
