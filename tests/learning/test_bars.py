"""Progress bars of the learner for scripts and notebooks."""

import pytest

from dami_text import make_learner
from dami_text.learning import bars
from dami_text.learning.bars import progress_bars
from dami_text.progress import tell_progress

TEXTS = [f"{word} film {i}" for i in range(8) for word in ("good", "bad")]
OPTIONS = {"model": "cnn", "strategy": "random", "word_vectors": "random", "min_document_frequency": 1, "steps": 3}


@pytest.mark.parametrize("quiet", [False, True])
def test_training_that_takes_long_has_a_bar_unless_nobody_wants_it(monkeypatch, capsys, quiet):
    monkeypatch.setattr(bars, "DELAY", 0.0)
    learner = make_learner(TEXTS, ["neg", "pos"], quiet=quiet, **OPTIONS)
    learner.tell([0, 1], ["pos", "neg"])
    learner.ask(2)
    shown = capsys.readouterr().err
    assert ("training:" in shown) != quiet
    assert quiet or "/3 [" in shown


def test_what_is_quick_has_no_bar(capsys):
    with progress_bars():
        tell_progress("encoding texts", 0, 10)
        tell_progress("encoding texts", 10, 10)
    tell_progress("encoding texts", 0, 10)  # nobody listens
    assert capsys.readouterr().err.strip("\r ") == ""


def test_a_bar_follows_the_work_and_goes_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(bars, "DELAY", 0.0)
    with progress_bars():
        for done in range(5):
            tell_progress("encoding texts", done, 4)
        tell_progress("training", 0, 2)
    shown = capsys.readouterr().err
    assert "encoding texts:   0%" in shown
    assert "training:   0%" in shown
