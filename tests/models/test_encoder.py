"""Encoders: their tokens, words and interpretations; new heads and frozen ones; and what is refused."""

import csv
import gzip
import hashlib
import json
import logging

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    ViTConfig,
    pipeline,
)

from dami_text.cli import run as cli
from dami_text.config.options import ModelConfig, TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.texts import EncodedTexts, FeatureTexts, LabeledTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError, HubError
from dami_text.interpretation.word_gradients import interpret
from dami_text.learning.factory import make_learner
from dami_text.learning.preparation import prepare
from dami_text.models.encoder import load_encoder
from dami_text.models.frozen_features import features_of, frozen_features
from dami_text.models.heads import head_alone
from dami_text.models.inference import predict_features, predict_probabilities
from dami_text.models.scores import roc_auc
from dami_text.models.training import train
from dami_text.processes import make_accelerator
from dami_text.progress import progress_told
from dami_text.randomness import numpy_stream, torch_stream

TEXTS = ["", "the film is good", "w1 zzz, w2.", "[SEP] good [sep]", "the zzz", "great cast and dull plot " * 9]
KINDS = ["bert", "roberta"]


def encoded(texts=TEXTS, max_length=32):
    tokenizer = tiny_tokenizer(max_length)
    return EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)


def load(path, class_names=("neg", "pos"), max_length=512, seed=0, **options):
    return load_encoder(ModelConfig(model=str(path), **options), class_names, max_length, seed)


@pytest.fixture
def folder(tmp_path):
    return save_encoder(tmp_path / "encoder")


# Tokens and words ------------------------------------------------------------------------------------------------


def test_tokens_are_the_tokenizers_own_and_special_tokens_are_no_words():
    texts, tokenizer = encoded(), tiny_tokenizer()
    batch = texts.collate(np.arange(len(TEXTS)))
    for row, text in enumerate(TEXTS):
        if "[" not in text:
            alone = tokenizer(text, truncation=True)
            assert texts.token_ids(row).tolist() == alone["input_ids"]
            words = [-1 if word is None else word for word in alone.word_ids()]
            assert batch.word_ids[row, : len(words)].tolist() == words
            assert (batch.word_ids[row, len(words) :] == -1).all()
    assert batch.is_word.sum(dim=1).tolist() == [
        0,
        4,
        5,
        7,
        2,
        21,
    ]  # 30 pieces: four times 5 words of 7 pieces, and one of 2


def test_what_looks_like_a_special_token_in_a_text_is_words():
    ids = encoded().token_ids(3).tolist()
    tokenizer = tiny_tokenizer()
    assert ids.count(tokenizer.sep_token_id) == 1
    assert tokenizer.convert_ids_to_tokens(ids[1:4]) == ["[", "sep", "]"]


def test_an_unknown_word_is_a_word():
    texts = encoded()
    assert tiny_tokenizer().unk_token_id in texts.token_ids(4)
    assert [texts.word(4, i) for i in range(2)] == ["the", "zzz"]


def test_a_word_is_shown_whole():
    texts = encoded()
    assert [texts.word(1, i) for i in range(4)] == ["the", "film", "is", "good"]
    assert [texts.word(2, i) for i in range(5)] == ["w1", "zzz", ",", "w2", "."]


def test_a_warning_counts_the_texts_that_were_cut(caplog):
    encoded(["w1 w2 w3", "w1 w2 w3 w4 " * 10, "the " * 50], max_length=12)
    assert caplog.messages == [
        "2 of 3 texts are longer than 12 pieces of words (the longest has 82) and were cut; see --max-length "
        "and --long-texts"
    ]


# Interpretations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["probability", "logit"])
def test_a_words_interpretation_is_the_sum_of_its_pieces_gradients(kind, target):
    """Against finite differences: the model is called with embeddings moved by a step at all of a word's pieces."""
    model, texts = tiny_model(kind).double(), encoded(TEXTS[:5])
    batch = texts.collate(np.arange(5))
    found = interpret(model, batch, target, "auto").numpy()
    embedding = model.get_input_embeddings()
    embedded = embedding(batch.input_ids).detach()

    def output(moved):
        handle = embedding.register_forward_hook(lambda *_: moved)
        with torch.no_grad():
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.numpy()
        handle.remove()
        odds = logits[:, 1] - logits[:, 0]
        return odds if target == "logit" else 1 / (1 + np.exp(-odds))

    step, expected = 1e-6, np.zeros_like(found)
    for word in range(found.shape[1]):
        pieces = (batch.word_ids == word).unsqueeze(-1)
        for d in range(found.shape[2]):
            direction = torch.zeros(found.shape[2], dtype=torch.float64)
            direction[d] = step
            difference = output(embedded + pieces * direction) - output(embedded - pieces * direction)
            expected[:, word, d] = difference / (2 * step)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.01
    assert not found[~batch.is_word.numpy()].any()


# New models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_has_the_encoders_weights_and_a_head_of_its_own(tmp_path, kind):
    encoder = load(save_encoder(tmp_path, kind, n_classes=3), ["a", "b", "c"])
    models = []
    for number in (0, 1, 0):
        with torch_stream(0, number, "training"):
            models.append(encoder.new_model())
    checkpoint = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    prefix = checkpoint.base_model_prefix
    first, second, again = (model.state_dict() for model in models)
    for name, weight in checkpoint.state_dict().items():
        assert torch.equal(first[name], again[name])
        if name.startswith(prefix):
            assert torch.equal(first[name], weight)
        elif name.endswith("weight"):
            assert not torch.equal(first[name], weight)
            assert not torch.equal(first[name], second[name])
    assert models[0].config.id2label == {0: "a", 1: "b", 2: "c"}
    models[0].base_model.get_input_embeddings().weight.data.zero_()
    assert encoder.pretrained.get_input_embeddings().weight.any()


def test_a_checkpoint_without_a_head_or_pooler_gives_the_same_models_for_the_same_seed(tmp_path, caplog):
    config = BertConfig(**tiny_model().config.to_diff_dict())
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    poolers = [load(tmp_path, seed=seed).new_model().bert.pooler.dense.weight for seed in (0, 0, 1)]
    assert torch.equal(poolers[0], poolers[1])
    assert not torch.equal(poolers[0], poolers[2])
    assert "lacks 2 weights, such as bert.pooler.dense.bias: drawn at random" in caplog.messages[0]


def test_half_precision_checkpoints_train_in_single_precision(tmp_path):
    tiny_model().half().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load(tmp_path).new_model().dtype == torch.float32


@pytest.mark.parametrize(("kind", "longest"), [("bert", 32), ("roberta", 32)])
def test_texts_are_cut_to_what_the_model_takes(tmp_path, kind, longest):
    tiny_model(kind).save_pretrained(tmp_path)
    tiny_tokenizer(10**6).save_pretrained(tmp_path)
    encoder = load(tmp_path)
    assert encoder.tokenizer.model_max_length == longest
    texts = EncodedTexts(encode(Dataset.from_dict({"text": ["the " * 60]}), encoder.tokenizer), encoder.tokenizer)
    assert predict_probabilities(encoder.pretrained, texts, np.array([0])).shape == (1, 2)
    assert load(tmp_path, max_length=7).tokenizer.model_max_length == 7


# Training ----------------------------------------------------------------------------------------------------------


def trained(model, texts, labels, **options):
    with torch_stream(0, 0, "training"):
        data = LabeledTexts(texts, np.arange(len(labels)), np.array(labels))
        train(
            model,
            data,
            None,
            config=TrainingConfig(**options),
            accelerator=make_accelerator(),
            rng=numpy_stream(0, 0, "batches"),
        )
    return model


def test_accumulated_batches_make_the_step_of_one_large_batch():
    texts, labels = encoded(["good", "bad film", "the great cast", "dull", "w1 w2 w3 w4", "w5"]), [0, 1, 0, 1, 1, 0]
    large, parts = (tiny_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).double() for _ in range(2))
    options = {"steps": 3, "learning_rate": 0.01}
    trained(large, texts, labels, train_batch_size=6, **options)
    trained(parts, texts, labels, train_batch_size=4, gradient_accumulation_steps=2, **options)  # 4 and the last 2
    for a, b in zip(large.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_warm_up_and_decoupled_decay_by_hand():
    """Adam's first step is the learning rate, whatever the gradient: here a quarter of it."""
    texts = encoded(["good"] * 10)
    for optimizer in ("adam", "adamw"):
        model = tiny_model(hidden_dropout_prob=0.0)
        before = model.classifier.bias.detach().clone() + 1.0
        model.classifier.bias.data.copy_(before)
        options = {"steps": 1, "learning_rate": 1e-3, "warmup_steps": 4, "weight_decay": 0.1, "optimizer": optimizer}
        trained(model, texts, [0] + [1] * 9, **options)
        rate = 1e-3 / 4
        sign = torch.tensor([-1.0, 1.0])  # label 1, of nine texts in ten, lifts its logit
        decayed = before * (1 - rate * 0.1) if optimizer == "adamw" else before
        torch.testing.assert_close(model.classifier.bias.detach(), decayed + rate * sign, rtol=0, atol=1e-6)


# Frozen encoders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_alone_gives_from_the_features_what_the_model_gives_from_the_texts(kind, tmp_path):
    encoder = load(save_encoder(tmp_path, kind), ["a", "b", "c"], freeze_encoder=True)
    model, texts = encoder.pretrained, encoded()
    rows = np.arange(len(TEXTS))
    probabilities, features = predict_probabilities(model, texts, rows), predict_features(model, texts, rows)
    texts.frozen_features = FeatureTexts(frozen_features(model, texts))
    assert texts.frozen_features.features.shape == (len(TEXTS), 8)
    np.testing.assert_allclose(predict_probabilities(model, texts, rows), probabilities, atol=1e-6)
    np.testing.assert_allclose(predict_features(model, texts, rows), features, atol=1e-5)
    assert head_alone(model).classifier is model.classifier
    assert model.base_model is not model


def test_features_are_computed_once(monkeypatch, tmp_path):
    models = [load(save_encoder(tmp_path / str(seed), seed=seed), freeze_encoder=True).pretrained for seed in (5, 6)]
    texts, calls = encoded(), []
    forward = type(models[0].base_model).forward
    monkeypatch.setattr(type(models[0].base_model), "forward", lambda *a, **b: (calls.append(1), forward(*a, **b))[1])
    first = frozen_features(models[0], texts)[:]
    n = len(calls)
    assert n > 0
    assert np.array_equal(frozen_features(models[0], encoded())[:], first)
    assert len(calls) == n
    frozen_features(models[1], texts)
    assert len(calls) > n


def test_features_in_parts_are_those_of_one_pass_to_the_bit(monkeypatch, tmp_path):
    model, rng = load(save_encoder(tmp_path, seed=7), freeze_encoder=True).pretrained, np.random.default_rng(0)
    words = ("the", "plot", "cast", "good", "dull", "music")
    texts = encoded([" ".join(rng.choice(words, rng.integers(5, 20))) for _ in range(57)])
    monkeypatch.setattr("dami_text.models.frozen_features.PART", 100)
    told = []
    with progress_told(lambda work, *far: told.append(far)):
        found = frozen_features(model, texts, batch_size=4)[:]
    order = np.array(sorted(range(57), key=lambda row: hashlib.blake2b(texts.token_ids(row), digest_size=16).digest()))
    assert np.array_equal(found[order], features_of(model, texts, order, batch_size=4))
    done, n, shares = zip(*told, strict=True)
    assert (done[0], {*n}, shares[0]) == (0, {57}, 0)
    assert len(told) > 4
    assert list(done) == sorted({*done})
    assert list(shares) == sorted({*shares})


def test_copies_and_texts_in_another_order_have_the_same_features(monkeypatch, tmp_path):
    model, read = load(save_encoder(tmp_path, seed=8), freeze_encoder=True).pretrained, []
    forward = type(model.base_model).forward
    monkeypatch.setattr(
        type(model.base_model), "forward", lambda *a, **b: (read.append(len(b["input_ids"])), forward(*a, **b))[1]
    )
    found = frozen_features(model, encoded(["good", "a bad plot", "good", "dull"]))[:]
    assert sum(read) == 3
    assert np.array_equal(found[0], found[2])
    joined = EncodedTexts.joined([encoded(["dull", "a bad plot"]), encoded(["good"])])
    assert np.array_equal(frozen_features(model, joined)[:], found[[3, 1, 0]])
    assert sum(read) == 3
    assert [joined.text(2), joined.token_ids(0).tolist()] == ["good", encoded(["dull"]).token_ids(0).tolist()]


def test_all_seeds_and_rare_versions_of_a_data_set_have_the_same_features(monkeypatch, folder, reviews):
    options = {"dataset": str(reviews), "model": str(folder), "freeze_encoder": True, "strategy": "random"}
    data = prepare(RunConfig.of(**options))
    monkeypatch.setattr("dami_text.models.frozen_features.features_of", None)  # nothing is read any more
    rare = f"{data.class_names[1]}=0.2"
    others = [{"seed": 1}, {"validation": "none"}, {"rarefy": rare}, {"rarefy": rare, "seed": 2}, {"strategy": "dami"}]
    for changed in others:
        again = prepare(RunConfig.of(**options | changed))
        assert len(again.train.texts.frozen_features.features) == len(again.train.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_training_a_frozen_encoder_changes_its_head_only(tmp_path, kind):
    encoder = load(save_encoder(tmp_path, kind), freeze_encoder=True)
    texts = encoded(["good", "bad", "great", "dull"] * 4)
    texts.frozen_features = FeatureTexts(frozen_features(encoder.pretrained, texts))
    with torch_stream(0, 0, "training"):
        model = encoder.new_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trained(model, texts, [0, 1] * 8)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("encoder."), name
    texts.frozen_features = None
    assert predict_probabilities(model, texts, np.arange(4)).argmax(axis=1).tolist() == [0, 1, 0, 1]


# Whole runs --------------------------------------------------------------------------------------------------------

FAST = ["--initial-size", "12", "--query-size", "6", "--budget", "18", "--epochs", "2", "--epoch-steps", "2"]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_with_an_encoder_and_again_after_it_was_interrupted(folder, reviews, tmp_path, frozen):
    how = [*FAST[:6], "--freeze-encoder"] if frozen else FAST
    command = ["--dataset", str(reviews), "--model", str(folder), *how]
    for name in ("run", "interrupted"):
        assert cli.run_al([*command, "--output-dir", str(tmp_path / name)]) == 0
    lines = (tmp_path / "interrupted" / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "interrupted" / "rounds.jsonl").write_text(lines[0] + "\n")
    assert cli.run_al([*command, "--output-dir", str(tmp_path / "interrupted")]) == 0
    for name in ("queries.jsonl", "model/model.safetensors", "model/README.md", "config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "interrupted" / name).read_bytes()
    query = json.loads((tmp_path / "run" / "queries.jsonl").read_text().splitlines()[-1])
    assert query["word"] is None if frozen else query["word"] in query["text"].split()
    classify = pipeline("text-classification", model=str(tmp_path / "run" / "model"))
    assert classify("the plot is good")[0]["label"] in {"neg", "pos"}


def test_an_encoders_options_have_defaults_of_their_own_and_give_way_to_given_ones(folder, tmp_path):
    encoder, given = ["--model", str(folder)], ["--learning-rate", "1e-3"]
    assert cli.parse([])[0].training.learning_rate == 2e-3
    assert (
        cli.parse(encoder)[0].training.learning_rate == RunConfig.of(model=str(folder)).training.learning_rate == 5e-5
    )
    assert cli.parse([*encoder, *given])[0].training.learning_rate == 1e-3
    assert cli.parse([*encoder, "--freeze-encoder"])[0].training.learning_rate == 2e-3  # without effect
    file = tmp_path / "options.yaml"
    file.write_text(f"model: {folder}\nwarmup_steps: 3\n")
    training = cli.parse(["--config", str(file)])[0].training
    assert (training.optimizer, training.warmup_steps, training.weight_decay) == ("adamw", 3, 0.01)


def test_a_learner_over_plain_texts_takes_an_encoder(folder):
    texts = [f"the {noun} is {word}" for noun in ("plot", "cast", "film") for word in ("good", "bad", "dull")]
    learner = make_learner(texts, ["neg", "pos"], RunConfig.of(model=str(folder), freeze_encoder=True))
    first = learner.ask(4)
    learner.tell(first.rows, [0, 1, 0, 1])
    assert set(learner.ask(2).rows) <= set(learner.pool.unlabeled.tolist())


# What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ViTConfig(), "is a vit, which has no text classifier"),
    ],
)
def test_what_is_no_encoder(tmp_path, config, message):
    config.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=f"{message}.*; choose an encoder such as BERT"):
        load(tmp_path)


def test_a_slow_tokenizer(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CanineTokenizer"}))
    with pytest.raises(ConfigError, match=r"has a CanineTokenizer, no fast tokenizer.*\(word_ids\)"):
        load(folder)


def test_a_head_for_other_classes_is_replaced_with_a_warning(tmp_path, caplog):
    save_encoder(tmp_path, n_classes=5)
    assert load(tmp_path).new_model().config.num_labels == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "classifies into 5 classes" in caplog.messages[0]
    assert "the data set has 2: its head is replaced by a new one" in caplog.messages[0]


def test_folders_that_hold_no_model(tmp_path, folder):
    with pytest.raises(ConfigError, match="cannot be loaded: "):
        load(tmp_path)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="cannot be loaded: "):
        load(folder)


def test_names_that_are_neither_folder_nor_in_reach():
    with pytest.raises(ConfigError, match="no Hub id; check the spelling"):
        load("no such/folder/at all")
    with pytest.raises(HubError, match=r"switched off by HF_HUB_OFFLINE.*cache has no copy"):
        load("some-org/some-model")


def test_options_that_need_an_encoder():
    with pytest.raises(ConfigError, match="freeze_encoder is True; it must be left out: model cnn is no pretrained"):
        RunConfig.of(freeze_encoder=True)
    with pytest.raises(ConfigError, match="model_revision is 'v1'; it must be left out"):
        RunConfig.of(model="bilstm", model_revision="v1")


def test_room_for_special_tokens_only(folder):
    with pytest.raises(ConfigError, match="--max-length is 2, and a text has 2 special tokens; it must be at least 3"):
        load(folder, max_length=2)


# Real weights ------------------------------------------------------------------------------------------------------


def test_real_weights_words_and_interpretations(minilm):
    encoder = load(minilm)
    text = "An unputdownable, electroencephalographic film [SEP]"
    texts = EncodedTexts(encode(Dataset.from_dict({"text": [text]}), encoder.tokenizer), encoder.tokenizer)
    batch = texts.collate(np.array([0]))
    assert [texts.word(0, i) for i in range(7)] == [
        "An",
        "unputdownable",
        ",",
        "electroencephalographic",
        "film",
        "[",
        "SEP",
    ]
    assert int(batch.is_word.sum()) == 8
    assert batch.input_ids.shape[1] > 15, "words of several pieces"
    found = interpret(encoder.pretrained, batch, "logit")
    assert found.shape == (1, 8, 384)
    assert (found.norm(dim=-1) > 0).all()


def small_file(real_data, data, folder):
    """400 sentences of subj, or 600 phrases of label5 of at least six words."""
    if data == "subj":
        lines = (real_data / "SetFit" / "subj" / "train.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [{"text": row["text"], "label": row["label_text"]} for row in map(json.loads, lines[:400])]
    else:
        with gzip.open(real_data / "pools" / "sst_phrases.csv.gz", "rt", encoding="utf-8", newline="") as stream:
            phrases = [row for row in csv.DictReader(stream) if row["text"].count(" ") >= 5]
        chosen = np.random.default_rng(0).choice(len(phrases), 600, replace=False)
        rows = [{"text": phrases[i]["text"], "label": phrases[i]["label5"]} for i in chosen]
    file = folder / f"{data}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.mark.parametrize("data", ["subj", "label5"])
def test_real_weights_learn_real_data(minilm, real_data, data, tmp_path):
    sizes = ["--initial-size", "60", "--query-size", "30", "--budget", "120", "--max-length", "64", "--freeze-encoder"]
    command = ["--dataset", str(small_file(real_data, data, tmp_path)), "--model", str(minilm), "--strategy", "margin"]
    assert cli.run_al([*command, *sizes, "--output-dir", str(tmp_path / "run")]) == 0
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert len(rounds[-1]["class_counts"]) == (2 if data == "subj" else 5)
    # What scikit-learn makes of the same labels and features: far better than chance on subj; five classes are hard.
    queries = [json.loads(line) for line in (tmp_path / "run" / "queries.jsonl").read_text().splitlines()]
    config = RunConfig.of(dataset=command[1], model=str(minilm), max_length=64, freeze_encoder=True, strategy="margin")
    test = prepare(config).test
    tokenizer, encoder = AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm).eval()

    def pooled(texts):
        with torch.no_grad():
            batch = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (encoder(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.nn.functional.normalize(means).numpy()

    reference = LogisticRegression(C=10, max_iter=1000)
    reference.fit(pooled([query["text"] for query in queries]), [query["label"] for query in queries])
    found = reference.predict_proba(pooled([test.texts.text(row) for row in test.rows]))
    names = prepare(config).class_names
    assert reference.classes_.tolist() == sorted(names)
    found = found[:, [reference.classes_.tolist().index(name) for name in names]]
    expected = roc_auc(found.astype(np.float32), test.labels)
    assert rounds[-1]["metrics"]["roc_auc"] > expected - 0.03
    assert expected > (0.9 if data == "subj" else 0.55)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["subj", "label5"])
def test_real_weights_fine_tuned_with_dami(minilm, real_data, data, tmp_path):
    sizes = ["--initial-size", "80", "--query-size", "40", "--budget", "120", "--max-length", "64"]
    command = ["--dataset", str(small_file(real_data, data, tmp_path)), "--model", str(minilm), "--strategy", "dami"]
    assert cli.run_al([*command, *sizes, "--output-dir", str(tmp_path / "run")]) == 0
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert rounds[-1]["metrics"]["roc_auc"] > (0.9 if data == "subj" else 0.6)
    asked = [json.loads(line) for line in (tmp_path / "run" / "queries.jsonl").read_text().splitlines()[80:]]
    assert len(asked) == 40
    assert all(line["word"].lower() in line["text"].lower() for line in asked)
    assert sum(line["cluster_size"] for line in asked) == (200 if data == "subj" else 340)


def test_the_tokenizer_of_a_run_cuts_texts_as_the_run_did(folder):
    encoder = load(folder, max_length=9)
    encoder.tokenizer.save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 9
