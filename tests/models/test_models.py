"""TextCNN and BiLSTM against slow references, and their life among the Hugging Face libraries."""

import json

import numpy as np
import pytest
import torch
from conftest import encode_texts, make_texts, small_model
from torch import nn
from transformers import AutoModelForSequenceClassification, pipeline

from dami_text.config.kinds import kind_of
from dami_text.config.options import ModelConfig

KINDS = ["cnn", "bilstm"]
VOCABULARY = 30
PAPER = {"embedding_dim": 100, "n_filters": 100, "filter_sizes": (3, 4, 5), "hidden_size": 100}


def random_batch(lengths, seed=0, width=None):
    """Ids (B, T) of texts of these lengths and their mask, padded to `width`."""
    rng = np.random.default_rng(seed)
    width = width or max(1, *lengths)
    mask = np.arange(width) < np.array(lengths)[:, None]
    ids = np.where(mask, rng.integers(1, VOCABULARY, mask.shape), 0)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def widened(ids, mask, by):
    return nn.functional.pad(ids, (0, by)), nn.functional.pad(mask, (0, by))


def logits_of(model, *args, **kwargs):
    with torch.no_grad():
        return model(*args, **kwargs).logits


def cnn_by_hand(model, words: np.ndarray) -> np.ndarray:
    """Logits (C,) of one text (L, D), window by window: each starts at a word, zeros follow the text."""
    features = []
    for size, convolution in zip(model.config.filter_sizes, model.convolutions, strict=True):
        weight = convolution.weight.detach().double().numpy()[:, :, 0]  # (F, D, size)
        bias = convolution.bias.detach().double().numpy()
        padded = np.concatenate([words, np.zeros((size, words.shape[1]))])
        best = np.full(len(bias), -np.inf if len(words) else 0.0)
        for start in range(len(words)):
            for f in range(len(bias)):
                value = bias[f] + sum(float(weight[f, :, k] @ padded[start + k]) for k in range(size))
                best[f] = max(best[f], value)
        features.append(np.maximum(best, 0))
    weight, bias = (p.detach().double().numpy() for p in (model.classifier.weight, model.classifier.bias))
    return weight @ np.concatenate(features) + bias


LENGTHS = [5, 0, 1, 2, 9, 3, 1]


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("bias", [-0.5, 0, 3])
def test_cnn_against_a_slow_loop(n_classes, bias):
    model = small_model("cnn", VOCABULARY, n_classes)
    for convolution in model.convolutions:
        convolution.bias.data += bias
    ids, mask = random_batch(LENGTHS)
    vectors = model.embedding.weight.detach().double().numpy()
    expected = [cnn_by_hand(model, vectors[row[:length]]) for row, length in zip(ids.numpy(), LENGTHS, strict=True)]
    np.testing.assert_allclose(logits_of(model, ids, mask).numpy(), np.array(expected), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("pooling", ["max", "last"])
def test_bilstm_against_torchs_own_on_packed_sequences(n_classes, pooling):
    model = small_model("bilstm", VOCABULARY, n_classes, pooling=pooling)
    ids, mask = random_batch(LENGTHS)
    reference = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
    for name, weight in model.forward_lstm.named_parameters():
        getattr(reference, name).data.copy_(weight.data)
    for name, weight in model.backward_lstm.named_parameters():
        getattr(reference, name + "_reverse").data.copy_(weight.data)
    lengths = [max(length, 1) for length in LENGTHS]  # a text without words is one zero vector
    packed = nn.utils.rnn.pack_padded_sequence(model.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
    states, (last, _) = reference(packed)
    texts = nn.utils.rnn.unpack_sequence(states)
    read = {"max": torch.stack([text.amax(dim=0) for text in texts]), "last": torch.cat([last[0], last[1]], dim=1)}
    expected = model.classifier(read[pooling])
    torch.testing.assert_close(logits_of(model, ids, mask), expected.detach(), atol=1e-6, rtol=0)


def test_a_bilstm_of_earlier_versions_reads_the_last_states(tmp_path):
    model = small_model("bilstm", VOCABULARY)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("pooling") == "max"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert type(model).from_pretrained(tmp_path).config.pooling == "last"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [{}, PAPER])
def test_padding_and_the_batch_never_change_a_logit(kind, sizes):
    model = small_model(kind, VOCABULARY, 3, **sizes)
    lengths = [*LENGTHS, 40, 17]
    ids, mask = random_batch(lengths)
    together = logits_of(model, ids, mask)
    for by in (1, 7, 200):
        torch.testing.assert_close(logits_of(model, *widened(ids, mask, by)), together, atol=1e-6, rtol=1e-6)
    for i, length in enumerate(lengths):
        alone = logits_of(model, ids[i : i + 1, : max(1, length)], mask[i : i + 1, : max(1, length)])
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(logits_of(model, ids.flip(0), mask.flip(0)).flip(0), together, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_does_not_matter(kind):
    model = small_model(kind, VOCABULARY)
    ids, mask = random_batch(LENGTHS)
    torch.testing.assert_close(logits_of(model, ids + 7 * (1 - mask), mask), logits_of(model, ids, mask))


@pytest.mark.parametrize("kind", KINDS)
def test_the_ways_to_call_a_model_agree(kind):
    model = small_model(kind, VOCABULARY)
    ids, mask = random_batch(LENGTHS)
    expected = logits_of(model, ids, mask)
    torch.testing.assert_close(logits_of(model, input_ids=ids), expected)
    torch.testing.assert_close(logits_of(model, ids, mask, token_type_ids=torch.zeros_like(ids)), expected)
    embedded = model.get_input_embeddings()(ids)
    torch.testing.assert_close(logits_of(model, inputs_embeds=embedded, attention_mask=mask), expected)
    whole = [i for i, length in enumerate(LENGTHS) if length == max(LENGTHS)]
    torch.testing.assert_close(logits_of(model, inputs_embeds=embedded[whole]), expected[whole])
    with pytest.raises(ValueError, match="give one of them"):
        model()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_cross_entropy(kind):
    model = small_model(kind, VOCABULARY, 3)
    ids, mask = random_batch(LENGTHS)
    labels = [0, 2, 1, 1, 0, 2, 2]
    output = model(ids, mask, labels=torch.tensor(labels))
    logits = output.logits.detach().double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(chances[np.arange(len(labels)), labels]).mean()
    assert output.loss.item() == pytest.approx(expected, abs=1e-6)
    assert model(ids, mask).loss is None


@pytest.mark.parametrize("kind", KINDS)
def test_training_leaves_padding_zero_and_drops_out_at_random(kind):
    model = small_model(kind, VOCABULARY).train()
    ids, mask = random_batch(LENGTHS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(model(ids, mask).logits, model(ids, mask).logits)
    model(ids, mask, labels=torch.zeros(len(LENGTHS), dtype=torch.long)).loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    gradient = model.embedding.weight.grad
    assert not gradient[0].any()
    assert not model.embedding.weight[0].any()
    assert gradient.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_loads_with_the_same_logits_and_class_names(kind, tmp_path):
    names = ["Größe", "0", "a b"]
    options = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    model = small_model(kind, VOCABULARY, 3, **options, pad_token_id=0, dropout=0.25)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    ids, mask = random_batch(LENGTHS)
    assert torch.equal(logits_of(loaded, ids, mask), logits_of(model, ids, mask))
    assert loaded.config.id2label == dict(enumerate(names))
    assert loaded.config.label2id == {name: i for i, name in enumerate(names)}
    assert (loaded.config.dropout, loaded.config.pad_token_id, loaded.config.num_labels) == (0.25, 0, 3)
    assert loaded.state_dict().keys() == model.state_dict().keys()


def scores_of(probabilities):
    return {f"LABEL_{i}": p for i, p in enumerate(probabilities)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_classifies_texts_of_every_kind(kind, tmp_path):
    encoded = encode_texts(["", "w1", *make_texts(6, longest=20), "never seen [PAD]", "x " * 600])
    model = small_model(kind, len(encoded.tokenizer), 3)
    model.save_pretrained(tmp_path)
    encoded.tokenizer.save_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), top_k=None, device="cpu")
    texts = [encoded.text(i) for i in range(len(encoded) - 1)]
    batch = encoded.collate(np.arange(len(texts)))
    expected = logits_of(model, batch.input_ids, batch.attention_mask).softmax(dim=1).numpy()
    for batch_size in (1, 4):
        for answer, row in zip(classify(texts, batch_size=batch_size), expected, strict=True):
            scores = {score["label"]: score["score"] for score in answer}
            assert scores == pytest.approx(scores_of(row), abs=1e-6)
    for answer in (classify([""])[0], *classify(["", ""], batch_size=2)):
        assert {score["label"]: score["score"] for score in answer} == pytest.approx(scores_of(expected[0]), abs=1e-6)
    assert len(classify(["x " * 600], truncation=True)[0]) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_start_as_torch_draws_them(kind):
    """Uniform in +- 1 / sqrt(fan in), +- 1 / sqrt(hidden) for an LSTM; transformers would make it N(0, 0.02)."""
    model = small_model(kind, 500, 2, **PAPER)
    bounds = {f"convolutions.{i}": (100 * size) ** -0.5 for i, size in enumerate((3, 4, 5))}
    bounds |= {"forward_lstm": 0.1, "backward_lstm": 0.1}
    checked = 0
    for name, weight in model.named_parameters():
        layer = name.rsplit(".", 1)[0]
        if layer in bounds:
            assert weight.abs().max() <= bounds[layer] + 1e-7
            assert weight.std().item() == pytest.approx(bounds[layer] / 3**0.5, rel=0.3 if weight.ndim == 1 else 0.02)
            checked += 1
    assert checked == (6 if kind == "cnn" else 8)
    weight = model.classifier.weight / 4  # small_model made it four times as large
    bound = model.classifier.in_features**-0.5
    assert weight.abs().max() <= bound + 1e-7
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_build_model_is_sized_as_in_the_paper_and_starts_from_the_word_vectors(kind):
    encoded = encode_texts(make_texts(20))
    vectors = np.random.default_rng(0).normal(size=(len(encoded.tokenizer), 100)).astype(np.float32)
    vectors[0] = 0

    def build(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return kind_of(kind).new_model(ModelConfig(model=kind), ["no", "yes"], encoded.tokenizer, vectors)

    model = build(0)
    np.testing.assert_array_equal(model.embedding.weight.detach().numpy(), vectors)
    assert model.embedding.weight.requires_grad
    words = vectors.size
    # CNN: 100 maps of widths 3, 4 and 5. BiLSTM: 4 gates of 100 units, two biases, two directions.
    layers = (3 + 4 + 5) * 100 * 100 + 300 if kind == "cnn" else 2 * 4 * 100 * (100 + 100 + 2)
    last = 2 * (300 if kind == "cnn" else 200) + 2
    assert sum(p.numel() for p in model.parameters()) == words + layers + last
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert model.config.label2id == {"no": 0, "yes": 1}
    assert model.config.pad_token_id == encoded.tokenizer.pad_token_id
    assert model.dropout.p == 0.5
    same, other = build(0).state_dict(), build(1).state_dict()
    assert all(torch.equal(weight, same[name]) for name, weight in model.state_dict().items())
    assert not torch.equal(model.classifier.weight, other["classifier.weight"])
