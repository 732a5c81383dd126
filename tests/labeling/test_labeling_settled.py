"""When to stop, as a session tells it: settled predictions, and how many of a rare class are left."""

import numpy as np
import pytest
from labeling_cases import CLASSES, label_some, make_linear_session, make_session, texts_without_labels

from dami_text.labeling.page.view import panel_html
from dami_text.labeling.progress import progress_of
from dami_text.labeling.rounds import train_round
from dami_text.labeling.settled import MOST_ROUNDS, compressed, settled, stop_rows
from dami_text.labeling.status import status_text
from dami_text.labeling.store.queues import RoundRecord
from dami_text.labeling.trainer import TrainerState
from dami_text.labeling.unfound import unfound
from dami_text.learning.hypergeometric import hypergeometric_interval


def round_of(number, classes, of=100):
    stop_set = b"" if classes is None else compressed(np.array(classes))
    return RoundRecord(
        number=number,
        through=number,
        n_labeled=10 * number,
        time="",
        details={"stop_set_of": of},
        predictions=b"",
        stop_set=stop_set,
    )


HALF = [0, 1] * 500
CHANGED = [1, 0] * 50 + [0, 1] * 450  # kappa with HALF: 1 - 4 * 50 / 1000 = 0.8


def rounds(*each, of=100):
    return [round_of(number, classes, of) for number, classes in enumerate(each)]


def test_three_agreements_settle_and_rounds_are_counted():
    assert settled([]) is None
    assert settled(rounds(HALF, HALF, HALF)) is None
    told = settled(rounds(CHANGED, HALF, HALF, HALF, HALF, HALF))
    assert (told.rounds, told.kappa, told.n_texts) == (2, 1.0, 1000)
    assert str(told) == (
        "settled for 2 rounds: more labels are unlikely to change much (kappa 1.000 between successive models on "
        "1,000 texts)"
    )


def test_what_has_not_settled_is_told_with_the_kappa_that_it_takes():
    told = settled(rounds(HALF, HALF, HALF, CHANGED))
    assert told.rounds == 0
    assert told.kappa == pytest.approx((1 + 1 + 0.8) / 3)
    assert str(told).startswith("not settled yet: kappa 0.933 ")
    assert str(told).endswith("from 0.99 on they are settled")
    assert "one class alone" in str(settled(rounds(*[[0] * 10] * 4)))


def test_rounds_before_texts_were_added_or_of_older_versions_do_not_count():
    assert settled([*rounds(HALF, HALF, HALF), *rounds(HALF, HALF, HALF, of=200)]) is None
    assert settled([*rounds(HALF, HALF, None), *rounds(HALF, HALF, HALF)]) is None
    assert settled([*rounds(None), *rounds(HALF, HALF, HALF, HALF)]).rounds == 1
    assert f"{MOST_ROUNDS} rounds or more" in str(settled(rounds(*[HALF] * 40)))


def test_a_session_tells_it_on_the_page_and_in_status(tmp_path, reviews):
    file, truth = texts_without_labels(reviews, tmp_path)
    with make_linear_session(file, tmp_path / "s.dami") as session:
        rows = stop_rows(session)
        assert len(rows) == len(session) - len(session.held_out)
        assert not np.isin(rows, session.held_out).any()
        np.testing.assert_array_equal(rows, stop_rows(session))
        for _ in range(4):
            label_some(session, truth, 10)
            train_round(session)
        done = progress_of(session)
        assert done.settled.n_texts == len(rows)
        told = str(done.settled)
        assert f"predictions {told}" in status_text(done, [])
        assert f"Predictions {told}." in panel_html(done, TrainerState("idle"))


def test_copies_count_once_in_what_is_told(tmp_path):
    """100 texts, each of them twice or three times."""
    lines = [f"{('Film', 'film', 'FILM')[i // 100]} number {i % 100}" for i in range(230)]
    file = tmp_path / "texts.csv"
    file.write_text("text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    with make_session(file, tmp_path / "s.dami", validation_share=0.3) as session:
        assert sorted([*stop_rows(session), *session.held_out]) == list(range(100))
        labels = dict.fromkeys(session.held_out[:30].tolist(), 0)
        (told,) = unfound(session, labels, set())
        assert told.high == hypergeometric_interval(0, 30, 100)[1]


# Rare classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "n", "total"), [(0, 20, 300), (1, 50, 1000), (3, 40, 60), (20, 20, 50), (7, 30, 30)])
def test_the_interval_against_scipy_by_brute_force(hits, n, total):
    from scipy.stats import hypergeom

    fits = [
        among
        for among in range(total + 1)
        if hypergeom.cdf(hits, total, among, n) > 0.025 and hypergeom.sf(hits - 1, total, among, n) > 0.025
    ]
    assert hypergeometric_interval(hits, n, total) == (fits[0], fits[-1])


def test_the_interval_covers_the_truth_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    for among in (3, 40, 200):
        drawn = rng.hypergeometric(among, 1000 - among, 60, size=2000)
        intervals = {hits: hypergeometric_interval(hits, 60, 1000) for hits in set(drawn.tolist())}
        covered = np.mean([intervals[hits][0] <= among <= intervals[hits][1] for hits in drawn.tolist()])
        assert covered >= 0.95 - 3 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.fixture
def rare(tmp_path, reviews):
    """A session of 300 texts, 90 of which may be held out."""
    file, _ = texts_without_labels(reviews, tmp_path)
    with make_session(file, tmp_path / "rare.dami", validation_share=0.3) as session:
        yield session


def test_the_rare_class_is_told_with_what_was_found(rare):
    held_out = rare.held_out.tolist()
    others = [row for row in range(300) if row not in held_out]
    labels = dict.fromkeys(held_out[:40], 0) | dict.fromkeys(others[:10], 1) | {held_out[3]: 1}
    (told,) = unfound(rare, labels, set())
    assert (told.name, told.found, told.in_sample, told.n_sample) == (CLASSES[1], 11, 1, 40)
    low, high = hypergeometric_interval(1, 40, 300)
    assert (told.low, told.high) == (max(low, 11) - 11, high - 11)
    assert told.value == 0  # 7.5 of 300 by the sample, and 11 are found
    assert str(told) == f"pos: 11 found, 0 to {high - 11} probably left (95% interval; 1 of 40 random texts)"


def test_only_the_beginning_of_the_held_out_texts_is_a_random_sample(rare):
    held_out = rare.held_out.tolist()
    labels = dict.fromkeys([*held_out[:25], *held_out[26:60]], 0)
    assert unfound(rare, labels, set())[0].n_sample == 25
    assert unfound(rare, labels, {held_out[25]})[0].n_sample == 59  # skipped: looked at, and of no class
    assert unfound(rare, dict.fromkeys(held_out[:19], 0), set()) == []


def test_nothing_is_told_of_classes_that_are_not_rare_or_after_texts_were_added(rare):
    held_out = rare.held_out.tolist()
    labels = {row: i % 2 for i, row in enumerate(held_out[:40])}
    assert unfound(rare, labels, set()) == []
    rare.store.set_meta(sources=["one", "other"])
    assert unfound(rare, dict.fromkeys(held_out[:40], 0), set()) == []


def test_what_is_labelled_otherwise_cannot_be_left(rare):
    labels = dict.fromkeys(range(300), 0)
    (told,) = unfound(rare, labels, set())
    assert (told.found, told.low, told.high) == (0, 0, 0)
