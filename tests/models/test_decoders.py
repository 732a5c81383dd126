"""Decoders as classifiers, against transformers' own calls of one text: padding, heads, words and gradients."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import tiny_tokenizer
from model_zoo import byte_tokenizer, piece_tokenizer, save_tiny, tiny
from torch.func import functional_call
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, pipeline

from dami_text.cli import run as cli
from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError
from dami_text.interpretation.word_gradients import embedding_hook, interpret
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.inference import predict_features, predict_logits, predict_probabilities
from dami_text.models.last_layer import UNSEEN, head_of
from dami_text.models.loading import load_classifier
from dami_text.models.unseen import never_predicted
from dami_text.strategies.gradient_lengths import expected_gradient_lengths, expected_word_gradients

DECODERS = ["gpt2", "llama", "qwen2", "qwen3", "gemma", "mistral", "phi3", "opt", "gpt_neox"]
TEXTS = ["the film is good", "", "w1 zzz, w2.", "great cast and dull plot " * 3, "<|endoftext|> good <|endoftext|>"]
ROWS = np.arange(len(TEXTS))


def load(path, class_names=("a", "b", "c"), max_length=64, **options):
    return load_encoder(ModelConfig(model=str(path), **options), class_names, max_length, 0)


def encoded(encoder, texts=TEXTS):
    return EncodedTexts(encode(Dataset.from_dict({"text": texts}), encoder.tokenizer), encoder.tokenizer)


def alone(encoder, texts, row):
    """What transformers gives of one text without padding; an empty one is the padding token."""
    ids = texts.token_ids(row).tolist() or [encoder.tokenizer.pad_token_id]
    return torch.tensor([ids])


@pytest.fixture(params=[False, True], ids=["no end", "an end token"])
def ends(request):
    """Whether the tokenizer ends each text with the end token, which is the padding token too."""
    return request.param


# Padding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DECODERS)
def test_a_batch_changes_nothing(kind, ends, tmp_path):
    encoder = load(save_tiny(kind, tmp_path, byte_tokenizer(ends)))
    texts, model = encoded(encoder), encoder.pretrained
    assert encoder.tokenizer.pad_token == encoder.tokenizer.eos_token == "<|endoftext|>"
    with torch.no_grad():
        expected = torch.cat([model(alone(encoder, texts, row)).logits for row in ROWS]).numpy()
    found = predict_logits(model, texts, ROWS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected[[0, 1, 2, 3]].std(axis=0).min() > 1e-3, "texts differ"


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_head_reads_the_last_token_of_the_text_itself(kind, tmp_path):
    """By hand from the states: the padding token is another than the end token here."""
    encoder = load(save_tiny(kind, tmp_path, byte_tokenizer(ends=True, pad="<pad>")))
    texts, model = encoded(encoder), encoder.pretrained
    assert all(texts.token_ids(row)[-1] == encoder.tokenizer.eos_token_id for row in ROWS)
    with torch.no_grad():
        states = [model.base_model(alone(encoder, texts, row)).last_hidden_state[0, -1] for row in ROWS]
    features = predict_features(model, texts, ROWS)
    np.testing.assert_allclose(features, torch.stack(states).numpy(), atol=1e-5)
    np.testing.assert_allclose(
        predict_logits(model, texts, ROWS), features @ model.score.weight.detach().numpy().T, atol=1e-5
    )


def test_what_looks_like_the_end_token_in_a_text_is_words(tmp_path):
    encoder = load(save_tiny("gpt2", tmp_path, byte_tokenizer(ends=True)))
    texts = encoded(encoder)
    assert texts.token_ids(4).tolist().count(encoder.tokenizer.eos_token_id) == 1


# What strategies read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DECODERS)
def test_features_are_the_states_that_the_logits_come_from(kind, ends, tmp_path):
    encoder = load(save_tiny(kind, tmp_path, byte_tokenizer(ends)))
    texts, model = encoded(encoder), encoder.pretrained
    features = predict_features(model, texts, ROWS)
    assert features.shape == (len(TEXTS), 16)
    weight = model.score.weight.detach().numpy()
    np.testing.assert_allclose(predict_logits(model, texts, ROWS), features @ weight.T, atol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_interpretations_are_the_gradients_by_each_words_pieces(kind, tmp_path):
    """Against autograd by hand, of one text alone."""
    encoder = load(save_tiny(kind, tmp_path, byte_tokenizer(ends=True)), ("a", "b"))
    texts, model = encoded(encoder), encoder.pretrained.double()
    found = interpret(model, texts.collate(ROWS), "logit")
    for row in (0, 2, 3):
        ids = alone(encoder, texts, row)
        with embedding_hook(model) as leaves:
            logits = model(ids).logits[0]
        (gradient,) = torch.autograd.grad(logits[1] - logits[0], leaves[0])
        words = texts.collate(np.array([row])).word_ids[0]
        n_words = int(words.max()) + 1
        assert n_words == {0: 4, 2: 7, 3: 15}[row], "a blank at the end is none"
        for word in range(n_words):
            by_hand = gradient[0][words == word].sum(dim=0)
            torch.testing.assert_close(found[row, word], by_hand, atol=1e-7, rtol=1e-5)
        assert not found[row, n_words:].any()


@pytest.mark.parametrize("kind", ["gpt2", "qwen3"])
def test_expected_gradient_lengths_by_autograd(kind, tmp_path):
    encoder = load(save_tiny(kind, tmp_path, byte_tokenizer()))
    texts, model = encoded(encoder), encoder.pretrained.double()
    found, of_words = (f(model, texts.collate(ROWS)) for f in (expected_gradient_lengths, expected_word_gradients))
    parameters = {name: weight.detach().requires_grad_() for name, weight in model.named_parameters()}
    table = next(name for name in parameters if name.endswith(("wte.weight", "embed_tokens.weight")))
    for row in (0, 2):
        ids = alone(encoder, texts, row)
        log_p = torch.log_softmax(functional_call(model, parameters, (ids,)).logits[0], dim=0)
        expected, expected_words = 0.0, torch.zeros(ids.shape[1], dtype=torch.float64)
        for each in log_p:
            gradients = torch.autograd.grad(each, list(parameters.values()), retain_graph=True, allow_unused=True)
            expected += each.exp() * sum(g.square().sum() for g in gradients if g is not None) ** 0.5
            by_token = dict(zip(parameters, gradients, strict=True))[table][ids[0]]
            expected_words += each.detach().exp() * by_token.norm(dim=1)
        torch.testing.assert_close(found[row].double(), expected.detach(), atol=1e-6, rtol=1e-5)
        found_words = of_words[row, : ids.shape[1]].double()
        torch.testing.assert_close(found_words, expected_words, atol=1e-6, rtol=1e-5)


def test_words_of_a_tokenizer_that_takes_a_text_for_one_word(tmp_path):
    encoder = load(save_tiny("llama", tmp_path, piece_tokenizer()))
    texts = encoded(encoder, ["the film  is good", "goodfilm", "", "zzz the"])
    assert set(encoder.tokenizer("the film is good", add_special_tokens=False).word_ids()) == {0}
    words = [[texts.word(row, i) for i in range(len(texts.word_places(row)))] for row in range(4)]
    assert words == [["the", "film", "", "is", "good"], ["goodfilm"], [], ["zzz", "the"]]
    batch = texts.collate(np.array([0, 1, 3]))
    assert batch.word_ids[0, 0] == -1, "the token that begins a text is no word"
    assert interpret(encoder.pretrained, batch).shape[1] == 5


# Classes without a label -------------------------------------------------------------------------------------------


def test_classes_without_a_label_are_never_predicted_and_a_saved_model_keeps_to_it(tmp_path):
    folder = save_tiny("qwen3", tmp_path / "base", byte_tokenizer(), eos_token_id=0)
    texts = [f"the {noun} is {word}" for noun in ("plot", "cast", "film") for word in ("good", "bad", "dull")]
    config = RunConfig.of(model=str(folder), steps=30, learning_rate=1e-2, strategy="margin")
    learner = make_learner(texts, ["x", "y", "z", "never"], config)
    learner.tell(list(range(9)), [1, 0, 2] * 3)
    learner.save_pretrained(tmp_path / "saved")
    model, rows = learner.trained_model(), np.arange(9)
    found = predict_probabilities(model, learner.pool.texts, rows)
    assert not found[:, 3].any()
    assert (found.argmax(axis=1) == [1, 0, 2] * 3).all()

    again, tokenizer = load_classifier(tmp_path / "saved", None)
    theirs = EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)
    np.testing.assert_allclose(predict_probabilities(again, theirs, rows), found, atol=1e-6)
    # transformers alone knows the weights, whose last class is the mean of the others: never above all of them.
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(plain.score.weight[3], plain.score.weight[:3].mean(dim=0))
    noise = torch.randn(10_000, 16, generator=torch.Generator().manual_seed(0))
    assert not (plain.score(noise).argmax(dim=1) == 3).any()


def test_the_added_bias_is_neither_trained_nor_saved(tmp_path):
    encoder = load(save_tiny("llama", tmp_path / "base", byte_tokenizer()))
    model = encoder.new_model()
    assert torch.equal(head_of(model).bias, torch.zeros(3))
    assert "score.bias" not in dict(model.named_parameters())
    with never_predicted(model, np.array([1])):
        assert head_of(model).bias.tolist() == [0, UNSEEN, 0]
    assert head_of(encoder.new_model()).bias.tolist() == [0, 0, 0]
    model.save_pretrained(tmp_path / "saved")
    _, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(loading.values())


# Their life --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["dami", "badge", "egl-word", "coreset"])
def test_a_run_with_a_decoder_saves_what_pipelines_load(strategy, reviews, tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.init_kwargs["padding_side"] = "left"  # which suits generation, and not the positions of a batch of texts
    folder = save_tiny("gpt2", tmp_path / "base", tokenizer)
    sizes = ["--initial-size", "12", "--query-size", "6", "--budget", "18", "--epochs", "2", "--epoch-steps", "2"]
    command = ["--dataset", str(reviews), "--model", str(folder), *sizes, "--strategy", strategy]
    assert cli.run_al([*command, "--output-dir", str(tmp_path / "run")]) == 0
    saved = tmp_path / "run" / "model"
    query = json.loads((tmp_path / "run" / "queries.jsonl").read_text().splitlines()[-1])
    if strategy in ("dami", "egl-word"):
        assert query["word"] in query["text"]
    tokenizer, config = AutoTokenizer.from_pretrained(saved), json.loads((saved / "config.json").read_text())
    assert tokenizer.pad_token_id == config["pad_token_id"] == tokenizer.eos_token_id
    assert tokenizer.padding_side == "right"
    texts = ["the plot is good", "bad", "the music and the ending of the film"]
    classify = pipeline("text-classification", model=str(saved), top_k=None)
    together = classify(texts, batch_size=3)
    for text, found in zip(texts, together, strict=True):
        (single,) = classify([text])
        assert [each["label"] for each in found] == [each["label"] for each in single]
        np.testing.assert_allclose([e["score"] for e in found], [e["score"] for e in single], atol=1e-5)


def test_a_frozen_decoder_is_pooled_by_the_mean(tmp_path):
    encoder = load(save_tiny("llama", tmp_path, byte_tokenizer()), freeze_encoder=True)
    texts = encoded(encoder)
    with torch.no_grad():
        states = encoder.pretrained.encoder.transformer(alone(encoder, texts, 0)).last_hidden_state[0]
    np.testing.assert_allclose(
        predict_features(encoder.pretrained, texts, ROWS)[0], states.mean(dim=0).numpy(), atol=1e-5
    )


# What is refused ---------------------------------------------------------------------------------------------------


def test_a_text_is_cut_to_the_places_that_a_decoder_has(tmp_path):
    for kind in ("gpt2", "opt"):
        folder = save_tiny(kind, tmp_path / kind, byte_tokenizer(), max_position_embeddings=10)
        encoder = load(folder)
        assert encoder.tokenizer.model_max_length == 10
        assert predict_logits(encoder.pretrained, encoded(encoder, ["the film " * 30]), np.array([0])).shape == (1, 3)


def test_a_tokenizer_with_neither_padding_nor_end(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="has no padding token and no end token"):
        load(save_tiny("gpt2", tmp_path, tokenizer))


def test_an_encoder_set_up_as_a_decoder(tmp_path):
    BertConfig(is_decoder=True).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"is a bert that reads left to right \(is_decoder\)"):
        load(tmp_path)
    assert tiny("bert").config.model_type == "bert"
