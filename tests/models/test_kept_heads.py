"""Heads of trained encoders that fit the data's classes, wholly or in part, and the first query that asks with them."""

import json
import logging

import numpy as np
import pytest
import torch
import yaml
from conftest import make_texts, small_model
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file
from strategy_cases import pool_of
from transformers import AutoModelForSequenceClassification, pipeline

from dami_text.cli import run as cli
from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.learning.cold_start import build_first_query
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.inference import head_of, predict_probabilities
from dami_text.models.kept_heads import give_classes, rows_by_name
from dami_text.models.sentence_encoder import SentenceEncoderConfig, SentenceEncoderForSequenceClassification
from dami_text.models.unseen import UNSEEN
from dami_text.randomness import torch_stream
from dami_text.strategies import Query, Uncertainty

TEXTS = make_texts(40)


def save(folder, names, kind="bert", **options):
    """A trained classifier into classes of these names."""
    named = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return save_encoder(folder, kind, n_classes=len(names), **named, **options)


def load(path, class_names, **options):
    return load_encoder(ModelConfig(model=str(path), **options), class_names, 512, 0)


def new_model(encoder, number=0):
    with torch_stream(0, number, "training"):
        return encoder.new_model()


def logits(model):
    inputs = tiny_tokenizer()(TEXTS[:5], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture(autouse=True)
def _told(caplog):
    caplog.set_level("INFO", "dami_text")


# Which rows fit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "wanted", "rows"),
    [
        (["neg", "pos"], ["neg", "pos"], [0, 1]),
        (["POS", " Neg"], ["neg", "pos"], [1, 0]),
        (["very  good", "bad"], ["Bad", "Very Good", "fair"], [1, 0, None]),
        (["LABEL_0", "LABEL_1"], ["neg", "pos"], [None, None]),
        (["LABEL_0", "LABEL_1"], ["LABEL_0", "LABEL_1"], [None, None]),
        (["0", "1"], ["1", "0"], [1, 0]),
        (["Spam", "spam"], ["spam", "SPAM"], [1, None]),  # SPAM may be either
        (["spam", "ham"], ["spam", "Spam", "Ham"], [0, None, 1]),
        (["a"], ["b"], [None]),
    ],
)
def test_rows_are_found_by_name(found, wanted, rows):
    assert rows_by_name(found, wanted) == rows


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("names", [["neg", "pos", "so-so"], ["Pos", "so-so", "NEG"]])
def test_a_head_of_the_datas_classes_is_kept_in_their_order(tmp_path, caplog, kind, names):
    checkpoint = AutoModelForSequenceClassification.from_pretrained(save(tmp_path, names, kind))
    encoder = load(tmp_path, ["neg", "pos", "so-so"])
    assert encoder.knows_classes
    order = [[name.lower() for name in names].index(name) for name in ("neg", "pos", "so-so")]
    for number in (0, 1):
        assert torch.equal(logits(new_model(encoder, number).eval()), logits(checkpoint)[:, order])
    assert new_model(encoder).config.id2label == {0: "neg", 1: "pos", 2: "so-so"}
    assert caplog.messages == [f"{tmp_path} classifies into the data's classes: its head is kept, and trained further"]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("wanted", [["a", "c", "B"], ["b", "a"], ["x", "y", "z", "b", "w"]])
def test_of_a_head_for_some_of_the_classes_their_rows_are_kept_and_the_others_drawn(tmp_path, caplog, kind, wanted):
    found = ["b", "d", "a"]
    checkpoint = AutoModelForSequenceClassification.from_pretrained(save(tmp_path, found, kind))
    encoder = load(tmp_path, wanted)
    first, other, again = (logits(new_model(encoder, number).eval()) for number in (0, 1, 0))
    assert torch.equal(first, again)
    for i, name in enumerate(wanted):
        if name.lower() in found:
            assert torch.allclose(first[:, i], logits(checkpoint)[:, found.index(name.lower())], atol=1e-6)
        else:
            assert not torch.allclose(first[:, i], other[:, i])
    known = [name for name in wanted if name.lower() in found]
    assert encoder.knows_classes is (len(known) == len(wanted))
    kept = f"its head is kept for {len(known)} of {len(wanted)} classes, {known}; that of the others is new"
    assert caplog.messages == [f"{tmp_path}: {kept}"] or encoder.knows_classes
    assert new_model(encoder).num_labels == new_model(encoder).config.num_labels == len(wanted)


def test_a_head_is_not_kept_for_other_names_nor_where_a_new_one_is_asked_for(tmp_path, caplog):
    save_encoder(tmp_path / "nameless")
    assert not load(tmp_path / "nameless", ["neg", "pos"]).known
    assert "into 2 classes ['LABEL_0', 'LABEL_1'], the data set has 2: its head is replaced" in caplog.messages[0]
    folder = save(tmp_path / "named", ["neg", "pos"])
    caplog.clear()
    encoder = load(folder, ["neg", "pos"], new_head=True)
    assert not torch.equal(head_of(new_model(encoder)).weight, head_of(new_model(encoder, 1)).weight)
    for how in ("freeze_encoder", "contrastive"):  # whose heads are found by logistic regression
        assert not load(folder, ["neg", "pos"], **{how: True}).known
    assert caplog.messages == []


def test_what_a_classifier_never_predicts_it_does_not_know(tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(save(tmp_path, ["a", "b", "c"]))
    model.classifier.bias.data[1] = UNSEEN
    model.save_pretrained(tmp_path)
    encoder = load(tmp_path, ["c", "b", "a"])
    assert encoder.known == (0, 2)
    assert new_model(encoder).classifier.bias[1] == 0


def test_a_checkpoint_whose_names_fit_but_that_has_no_head(tmp_path, caplog):
    weights = load_file(save(tmp_path, ["pos", "neg"]) / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    encoder = load(tmp_path, ["neg", "pos"])
    assert not encoder.known
    assert new_model(encoder).classifier.weight.any()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "cnn"}, "--new-head is True; it must be left out: --model cnn is no pretrained encoder"),
        ({"model": "a/b", "freeze_encoder": True}, "--new-head has no effect on --model a/b with --freeze-encoder"),
        ({"model": "a/b", "contrastive": True}, "--new-head has no effect on --model a/b with --contrastive"),
    ],
)
def test_a_new_head_is_asked_of_encoders_that_are_fine_tuned_whole(options, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.of_options({**options, "new_head": True})


# The first query ----------------------------------------------------------------------------------------------------


def margins(probabilities):
    return np.argsort(np.abs(probabilities[:, 0] - probabilities[:, 1]), kind="stable")


def test_the_strategy_asks_with_the_kept_head_before_the_first_label(tmp_path):
    folder = save(tmp_path, ["Pos", "Neg"])
    options = {"model": str(folder), "strategy": "margin", "cold_start": "strategy", "max_length": 32}
    learner = make_learner(TEXTS, ["neg", "pos"], RunConfig.of(**options))
    checkpoint = AutoModelForSequenceClassification.from_pretrained(folder)
    probabilities = predict_probabilities(checkpoint, learner.pool.texts, np.arange(len(TEXTS)))
    assert learner.ask(6).rows.tolist() == margins(probabilities)[:6].tolist()
    seen = []

    class Lowest:
        def query(self, model, pool, n, rng):
            seen.append(len(pool.unlabeled))
            return Query.of(pool.unlabeled[:n])

    make_learner(TEXTS, ["neg", "pos"], RunConfig.of(**options, pool_subsample=9), Lowest()).ask(6)
    assert seen == [9]


@pytest.mark.parametrize(("names", "new_head"), [(["neg", "other"], False), (["neg", "pos"], True)])
def test_the_strategy_does_not_ask_with_a_head_that_lacks_classes(tmp_path, names, new_head):
    folder = save(tmp_path, names)
    config = RunConfig.of(model=str(folder), strategy="margin", cold_start="strategy", new_head=new_head)
    with pytest.raises(ConfigError, match=r"cold_start strategy needs an encoder .* all of the classes .*; choose"):
        make_learner(TEXTS, ["neg", "pos"], config)


@pytest.mark.parametrize("kind", ["bert", "cnn"])
def test_a_trained_model_asks_for_classes_in_any_order(tmp_path, kind):
    names = ["B", "c", "a"]
    own = pool_of(TEXTS, kind=kind)
    if kind == "bert":
        model = AutoModelForSequenceClassification.from_pretrained(save(tmp_path, names))
    else:
        named = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
        model = small_model("cnn", len(own.texts.tokenizer), 3, **named)
        model.save_pretrained(tmp_path)
        own.texts.tokenizer.save_pretrained(tmp_path)
    asked = []

    class Lowest:
        def query(self, model, pool, n, rng):
            asked.append((model.config.id2label, predict_probabilities(model, pool.texts, pool.unlabeled)))
            return Query.of(pool.unlabeled[:n])

    config = RunConfig.of(init_model=str(tmp_path))
    first = build_first_query(config, Lowest(), lambda: None, ["a", "b", "c"])
    first(pool_of(TEXTS), 3, np.random.default_rng(0))
    ((labels, probabilities),) = asked
    assert labels == {0: "a", 1: "b", 2: "c"}
    expected = predict_probabilities(model, own.texts, np.arange(len(TEXTS)))[:, [2, 0, 1]]
    assert probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("names", [["neg", "pos", "so-so"], ["neg", "positive"], ["neg", "NEG"]])
def test_a_trained_model_of_other_classes_is_refused(tmp_path, names):
    config = RunConfig.of(init_model=str(save(tmp_path, names)))
    with pytest.raises(ConfigError, match=r"has the classes .*, the data set \['neg', 'pos'\]; they must be the same"):
        build_first_query(config, Uncertainty("margin"), lambda: None, ["neg", "pos"])(
            pool_of(TEXTS), 1, np.random.default_rng(0)
        )


def test_the_network_for_regions_has_the_classes_of_the_head_beside_it():
    config = SentenceEncoderConfig(
        encoder=tiny_model().config, pooling=["mean"], regions=True, id2label={0: "a", 1: "b", 2: "c"}
    )
    model = SentenceEncoderForSequenceClassification(config).eval()
    features = torch.randn(4, 1, config.feature_dim)
    mask = torch.ones(4, 1, dtype=torch.long)
    before = model.regions(features, mask).logits
    give_classes(model, [2, 0, 1], ["c", "a", "b"])
    assert torch.equal(model.regions(features, mask).logits, before[:, [2, 0, 1]])


# Runs ---------------------------------------------------------------------------------------------------------------

FAST = ["--initial-size", "12", "--query-size", "6", "--budget", "18", "--epochs", "2", "--epoch-steps", "2"]


def content(path):
    return [(path / name).read_bytes() for name in ("queries.jsonl", "model/model.safetensors", "config.yaml")]


def test_runs_of_versions_that_kept_no_head_go_on_without(tmp_path, reviews):
    folder = save(tmp_path / "encoder", ["pos", "neg"])
    command = ["--dataset", str(reviews), "--model", str(folder), "--strategy", "margin", *FAST]
    for name, more in (("kept", ["--cold-start", "strategy"]), ("new", ["--new-head"]), ("old", ["--new-head"])):
        assert cli.run_al([*command, *more, "--output-dir", str(tmp_path / name)]) == 0
    lines = (tmp_path / "old" / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "old" / "rounds.jsonl").write_text(lines[0] + "\n")
    options = yaml.safe_load((tmp_path / "old" / "config.yaml").read_text())
    assert options.pop("new_head")
    (tmp_path / "old" / "config.yaml").write_text(yaml.safe_dump(options))
    assert cli.run_al([*command, "--output-dir", str(tmp_path / "old")]) == 0
    assert content(tmp_path / "old")[:2] == content(tmp_path / "new")[:2] != content(tmp_path / "kept")[:2]
    assert pipeline("text-classification", model=str(tmp_path / "kept" / "model"))("good")[0]["label"] in ("neg", "pos")
    first = json.loads((tmp_path / "kept" / "queries.jsonl").read_text().splitlines()[0])
    assert first["round"] == -1
    assert "score" in first
    assert "(by the strategy, with the head that the encoder had)" in (tmp_path / "kept/model/README.md").read_text()
