"""Text from outside in the places where it is shown."""

import json

import pytest

from dami_text.escaping import markdown, no_formula, printable, short_message, terminal_line, to_json, without_guard


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("-2+3", "'-2+3"),
        ("+1 more", "'+1 more"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-0.5", "-0.5"),
        ("+7", "+7"),
        ("1e-05", "1e-05"),
        ("dami", "dami"),
        ("a=b", "a=b"),
        (3, 3),
        (None, None),
    ],
)
def test_no_cell_is_a_formula(value, cell):
    assert no_formula(value) == cell
    if isinstance(value, str):
        assert without_guard(cell) == value


def test_an_apostrophe_of_the_texts_own_stays():
    assert without_guard("'quoted'") == "'quoted'"
    assert without_guard("'-7") == "-7"
    assert without_guard("'") == "'"
    assert without_guard(None) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sci-fi, 1.5 stars", "sci-fi, 1.5 stars"),
        ("größe", "größe"),
        ("a_b*c | <i>\n# d", "a&#95;b&#42;c &#124; &#60;i&#62; &#35; d"),
        ("- x", "&#45; x"),
        ("12. x", "&#49;&#50;&#46; x"),
        ("3.0 x", "3.0 x"),
        ("see https://a.example or WWW.b.example", "see https&#58;//a.example or WWW&#46;b.example"),
        ("me@c.example", "me&#64;c.example"),
        ("mailto:x", "mailto&#58;x"),
        ("a\x1b[0m\u202eb", "a\ufffd&#91;0m\ufffdb"),
        ("66.0 ± 2.5 (20%)", "66.0 ± 2.5 (20%)"),
    ],
)
def test_markdown_shows_text_and_nothing_else(text, shown):
    assert markdown(text) == shown


def test_a_terminal_gets_no_control_characters():
    assert printable("a\x1b[31m\u202eb\n") == r"a\x1b[31m\u202eb\n"
    assert terminal_line("first  \n  second\x07") == r"first second\x07"
    assert short_message(ValueError("a\nb " + "word " * 100)).startswith("a b word word")
    assert len(short_message(ValueError("word " * 1000))) <= 300
    assert short_message(KeyError()) == "KeyError"


def test_json_holds_the_text_and_no_control_characters():
    text = "é \x1b \x9b \u202e \u2028 \u200f"
    line = to_json({"text": text})
    assert json.loads(line) == {"text": text}
    assert "é" in line
    assert all(c.isprintable() for c in line)
