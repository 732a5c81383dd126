"""The texts of the start by features: typical of clusters, and like descriptions of the classes."""

import numpy as np
import pytest
from encoder_cases import save_encoder

from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.learning.factory import make_learner
from dami_text.learning.first_texts import NEIGHBOURS, described_rows, read_descriptions, typical_rows

NAMES = ["neg", "pos"]


def blobs(sizes, spread=0.1, seed=0):
    """Points around the axes, a blob each, and which blob each is of."""
    rng = np.random.default_rng(seed)
    blob = np.repeat(np.arange(len(sizes)), sizes)
    points = 5 * np.eye(len(sizes), 6)[blob] + rng.normal(0, spread, (len(blob), 6))
    return points.astype(np.float32), blob


def test_each_cluster_gives_the_row_nearest_to_its_neighbours_the_largest_first():
    points, blob = blobs([60, 40, 25])
    rows, sizes = typical_rows(points, 3, np.random.default_rng(0))
    assert sizes.tolist() == [60, 40, 25]
    for row, c in zip(rows, range(3), strict=True):  # brute force
        members = np.flatnonzero(blob == c)
        distances = np.sort(np.linalg.norm(points[members][:, None] - points[members], axis=-1), axis=1)
        assert row == members[distances[:, 1 : NEIGHBOURS + 1].mean(axis=1).argmin()]


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_copies_and_small_pools_still_give_as_many_different_rows(n):
    points = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    rows, sizes = typical_rows(points, n, np.random.default_rng(0))
    assert len(set(rows.tolist())) == len(sizes) == n


def test_a_rare_class_that_is_described_is_found_at_once():
    points, blob = blobs([480, 12, 8], spread=0.5)
    rows = described_rows(points, np.eye(3, 6, dtype=np.float32), 9, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 9
    assert sorted(blob[rows[:3]].tolist()) == [0, 1, 2], "the classes come in turn, the surest texts first"
    assert np.bincount(blob[rows]).min() >= 2


def test_a_description_that_is_like_all_texts_gets_no_more_than_its_share():
    points, blob = blobs([500, 500], spread=0.3)
    points[:, 5] += 9  # what all texts have in common
    descriptions = np.eye(2, 6, dtype=np.float32)
    descriptions[0, 5] = 9
    rows = described_rows(points, descriptions, 10, np.random.default_rng(0))
    assert np.bincount(blob[rows]).tolist() == [5, 5]


def test_more_classes_than_texts_and_more_texts_than_are_like_a_class():
    points, _ = blobs([10, 10, 10], spread=0.5)
    described = np.eye(3, 6, dtype=np.float32)
    assert len(set(described_rows(points, described, 2, np.random.default_rng(0)).tolist())) == 2
    assert sorted(described_rows(points, described, 30, np.random.default_rng(0)).tolist()) == list(range(30))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "pos: praise, good\n"),
        ("a.json", '{"pos": "praise, good"}'),
        ("a.txt", "pos: praise, good"),
    ],
)
def test_descriptions_are_pairs_or_lines_of_a_file_and_a_class_without_one_has_its_name(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_descriptions([str(tmp_path / name)], NAMES) == ["neg", "praise, good"]
    assert read_descriptions(["pos=praise, good"], NAMES) == ["neg", "praise, good"]
    assert read_descriptions(["no=a=b"], ["no", "1"]) == ["a=b", "1"]


def test_yes_and_numbers_in_a_file_are_names(tmp_path):
    (tmp_path / "a.yaml").write_text("yes: agrees\n1: one\n")
    assert read_descriptions([str(tmp_path / "a.yaml")], ["yes", "1"]) == ["agrees", "one"]


@pytest.mark.parametrize(
    ("describe", "wanted"),
    [
        (["good=praise"], "--describe has 'good', and the classes are 'neg', 'pos'"),
        (["pos="], "--describe has 'pos='; it must be NAME=TEXT"),
        (["pos=a", "neg"], "--describe has 'neg'; it must be NAME=TEXT"),
        (["missing.yaml"], "--describe is 'missing.yaml', which cannot be read"),
    ],
)
def test_what_is_no_description_gets_one_line(describe, wanted):
    with pytest.raises(ConfigError) as told:
        read_descriptions(describe, NAMES)
    assert wanted in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", ["- pos\n", "pos: [a, b]\n", "", "a: b: c\n"])
def test_a_file_of_something_else_gets_one_line(tmp_path, content):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ConfigError, match="--describe") as told:
        read_descriptions([str(tmp_path / "a.yaml")], NAMES)
    assert "\n" not in str(told.value)


def test_a_learner_starts_with_typical_and_with_described_texts_of_a_frozen_encoder(tmp_path):
    save_encoder(tmp_path / "encoder")
    texts = [f"the film is {word} {i}" for i in range(30) for word in ("good", "bad")]
    options = {"model": str(tmp_path / "encoder"), "freeze_encoder": True}
    typical = make_learner(texts, NAMES, RunConfig.of(**options, cold_start="typical")).core.ask(6)
    assert len(set(typical.rows.tolist())) == 6
    assert sum(reason["cluster_size"] for reason in typical.reasons) == 60
    config = RunConfig.of(**options, describe=["pos=a good film", "neg=a bad film"])
    assert config.loop.cold_start == "described", "--describe implies it"
    assert len(set(make_learner(texts, NAMES, config).core.ask(6).rows.tolist())) == 6


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"cold_start": "typical"}, "--cold-start typical needs the features of a frozen encoder, and --model is cnn"),
        ({"describe": ["pos=good"]}, "--describe needs the features of a frozen encoder"),
    ],
)
def test_without_a_frozen_encoder_there_are_no_features_to_go_by(options, wanted):
    with pytest.raises(ConfigError) as told:
        make_learner(["a", "b"], NAMES, RunConfig.of(word_vectors="random", **options)).core.ask(1)
    assert wanted in str(told.value)


def test_descriptions_and_another_cold_start_do_not_go_together():
    with pytest.raises(ConfigError, match="cold_start"):
        RunConfig.of(cold_start="random", describe=["pos=good"])
    with pytest.raises(ConfigError, match="cold_start"):
        RunConfig.of(cold_start="described")
