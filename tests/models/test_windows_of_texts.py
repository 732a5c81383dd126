"""Long texts in windows, against transformers' own calls of one window after another."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import save_encoder, tiny_tokenizer
from model_zoo import save_tiny
from torch.nn import functional
from transformers import pipeline

from dami_text.config.options import ModelConfig, TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.data.tokenization import encode
from dami_text.interpretation.word_gradients import interpret
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.rounds import word_weights
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.frozen_features import features_of
from dami_text.models.inference import predict_features, predict_logits, predict_probabilities
from dami_text.models.last_layer import head_of
from dami_text.models.training import _Steps
from dami_text.models.windows import Windows, read_long_texts
from dami_text.processes import make_accelerator
from dami_text.randomness import numpy_stream

LONGEST = 10
TEXTS = [
    "the plot is good",
    "great cast and dull plot and the film is bad " * 3,
    "",
    "w1 w2 zzz w3, the music is boring and the camera is good",
    "the film " * 4,
]
ROWS = np.arange(len(TEXTS))
KINDS = ["bert", "roberta", "xlnet", "longformer", "ibert", "funnel", "gpt2", "qwen3"]


def load(path, texts=TEXTS, **options):
    """An encoder that reads windows, the same without, and texts for the first."""
    config = ModelConfig(model=str(path), **options)
    encoder, plain = (load_encoder(config, ["a", "b", "c"], LONGEST, 0) for _ in range(2))
    read_long_texts(encoder.pretrained, encoder.tokenizer, "windows")
    encoded = EncodedTexts(encode(Dataset.from_dict({"text": texts}), encoder.tokenizer), encoder.tokenizer)
    return encoder, plain.pretrained, encoded


def windows(texts, row):
    """The ids of each window of a text, cut by hand where the special tokens begin anew."""
    ids, n = texts.token_ids(row), len(texts.token_ids(row))
    parts = np.array_split(ids, max(1, -(-n // LONGEST)))
    return [torch.tensor(part[None].astype(np.int64)) for part in parts]


def of_kind(kind, folder):
    if kind == "roberta":
        return save_encoder(folder, kind)
    tokenizer = tiny_tokenizer(64)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return save_tiny(kind, folder, tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_mean_log_probabilities(kind, tmp_path):
    encoder, plain, texts = load(of_kind(kind, tmp_path))
    assert [len(windows(texts, row)) for row in ROWS][:3] == [1, 5, 1]
    expected = []
    with torch.no_grad():
        for row in ROWS:
            each = [plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0] for ids in windows(texts, row)]
            mean = torch.log_softmax(torch.stack(each), dim=-1).mean(dim=0)
            expected.append(torch.softmax(mean, dim=-1).numpy())
    np.testing.assert_allclose(predict_probabilities(encoder.pretrained, texts, ROWS), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_reads_the_mean_of_the_windows_features(kind, tmp_path):
    encoder, _, texts = load(of_kind(kind, tmp_path))
    model = encoder.pretrained
    with torch.no_grad():
        logits = head_of(model)(torch.from_numpy(predict_features(model, texts, ROWS)))
    np.testing.assert_allclose(logits, predict_logits(model, texts, ROWS), atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "xlnet"])
def test_words_of_all_windows_have_gradients(kind, tmp_path):
    """Those of a plain model that is given each window's embeddings."""
    encoder, plain, texts = load(of_kind(kind, tmp_path))
    batch = texts.collate(ROWS)
    found = interpret(encoder.pretrained, batch, "logit", "predicted")
    for row in ROWS:
        parts = windows(texts, row)
        given = [plain.get_input_embeddings()(ids).detach().requires_grad_() for ids in parts]
        masks = [torch.ones_like(ids) for ids in parts]
        if kind == "gpt2":  # which finds a text's end by its ids
            plain.config.pad_token_id = None
        logits = torch.stack(
            [plain(inputs_embeds=g, attention_mask=m).logits[0] for g, m in zip(given, masks, strict=True)]
        ).mean(dim=0)
        p = torch.softmax(logits, dim=-1)
        c = int(p.argmax())
        gradients = torch.autograd.grad(torch.log(p[c]) - torch.log(1 - p[c]), given)
        by_token = torch.cat([gradient[0] for gradient in gradients])
        numbers = batch.word_ids[row][batch.attention_mask[row] == 1]
        for word in range(int(numbers.max()) + 1):
            expected = by_token[numbers == word].sum(dim=0)
            torch.testing.assert_close(found[row, word], expected, atol=1e-4, rtol=1e-3)
        assert not found[row, int(numbers.max()) + 1 :].any()


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_windows_of_a_mask_by_hand(padding_side):
    """Texts of 5, 2 and 3 tokens in windows of 2 at most: of 2, 2 and 1; of 2; of 2 and 1."""
    left = padding_side == "left"
    ids = torch.tensor([[1, 2, 3, 4, 5], [0, 0, 0, 6, 7] if left else [6, 7, 0, 0, 0], [0, 0, 8, 9, 10]])
    if not left:
        ids[2] = torch.tensor([8, 9, 10, 0, 0])
    found = Windows.of((ids > 0).long(), 2, padding_side)
    last, third = ([0, 5], [0, 10]) if left else ([5, 0], [10, 0])
    assert found.split(ids, 0)["input_ids"].tolist() == [[1, 2], [3, 4], last, [6, 7], [8, 9], third]
    assert found.split(ids, 99)["attention_mask"].sum(dim=1).tolist() == [2, 2, 1, 2, 2, 1]
    assert found.text.tolist() == [0, 0, 0, 1, 2, 2]
    values = found.split(ids, 0)["input_ids"].float().unsqueeze(-1)
    assert found.by_token(values).squeeze(-1).tolist() == ids.tolist()
    assert found.means(values.sum(dim=1)).flatten().tolist() == [5.0, 13.0, 13.5]


@pytest.mark.parametrize("options", [{"freeze_encoder": True}, {"contrastive": True}])
def test_a_sentence_encoders_features_are_the_windows_mean(options, tmp_path):
    encoder, plain, texts = load(save_encoder(tmp_path), **options)
    with torch.no_grad():
        expected = [
            torch.cat([plain.encoder(input_ids=ids).pooler_output for ids in windows(texts, row)]).mean(dim=0)
            for row in ROWS
        ]
    np.testing.assert_allclose(features_of(encoder.pretrained, texts, ROWS), torch.stack(expected), atol=1e-5)


def learner_of(path, strategy="dami", **options):
    config = RunConfig.of(
        model=str(path),
        strategy=strategy,
        max_length=LONGEST,
        long_texts="windows",
        min_document_frequency=1,
        **options,
    )
    learner = make_learner(TEXTS, ["a", "b"], config).core
    learner.tell([0, 1, 3], [0, 1, 0])
    return learner


@pytest.mark.parametrize("strategy", ["dami", "egl-word", "egl", "badge", "bald", "coreset", "margin"])
def test_every_strategy_asks(strategy, tmp_path):
    learner = learner_of(save_encoder(tmp_path), strategy, steps=2)
    query = learner.ask(2)
    assert sorted(query.rows.tolist()) == [2, 4]
    if strategy in ("dami", "egl-word"):
        (weights,) = word_weights(learner.strategy, learner.model, learner.pool.texts, np.array([1]))
        assert [TEXTS[1][start:end] for start, end, _ in weights] == TEXTS[1].split()
        assert min(weight for *_, weight in weights) > 0


@pytest.mark.parametrize("options", [{"steps": 3}, {"freeze_encoder": True}, {"contrastive": True}])
def test_a_saved_model_reads_windows_and_a_pipeline_the_first(options, tmp_path):
    learner = learner_of(save_encoder(tmp_path / "base"), "margin", **options)
    expected = predict_probabilities(learner.trained_model(), learner.pool.texts, ROWS)
    learner.save_pretrained(tmp_path / "saved")
    found, n_cut = Classifier.load(tmp_path / "saved").classify(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert n_cut == 0
    classify = pipeline("text-classification", model=str(tmp_path / "saved"), top_k=None)
    for row in (0, 1):
        scores = {each["label"]: each["score"] for each in classify([TEXTS[row]], truncation=True)[0]}
        same = np.allclose([scores["a"], scores["b"]], expected[row], atol=1e-5)
        assert same == (row == 0)


def test_training_is_of_the_mean_and_each_text_counts_once(tmp_path):
    """A step's gradient is that of the mean loss, each text's of its windows' mean."""
    encoder, plain, texts = load(save_encoder(tmp_path))
    model, labels = deepcopy(encoder.pretrained), np.array([0, 1, 2, 0, 1])
    for each in (model, plain):
        for module in each.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    gradients = {}
    config = TrainingConfig(train_batch_size=5, learning_rate=1e-3)
    steps = _Steps(model, LabeledTexts(texts, ROWS, labels), config, make_accelerator("no"), numpy_stream(0, 0, "x"))
    steps._optimizer.register_step_pre_hook(
        lambda *_: gradients.update({name: weight.grad.clone() for name, weight in model.named_parameters()})
    )
    steps.take(1)
    assert steps.taken == 1
    logits = torch.stack(
        [torch.cat([plain(input_ids=ids).logits for ids in windows(texts, row)]).mean(dim=0) for row in ROWS]
    )
    functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-5, rtol=1e-4)


def test_batches_of_long_texts_go_through_memory_in_parts(tmp_path, monkeypatch):
    """A step's gradient is that of the whole batch."""
    monkeypatch.setattr("dami_text.models.training.TOKENS_A_TEXT", 20)
    sizes = []
    encoder, *_ = load(save_encoder(tmp_path))
    texts = load(tmp_path, TEXTS)[2]
    labeled = LabeledTexts(texts, ROWS, np.array([0, 1, 2, 0, 1]))
    config = TrainingConfig(train_batch_size=5)
    steps = _Steps(encoder.pretrained, labeled, config, make_accelerator("no"), numpy_stream(0, 0, "x"))
    encoder.pretrained.register_forward_pre_hook(
        lambda module, args, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    steps.take(1)
    assert (len(sizes), steps.taken) == (2, 1)


def test_a_copy_reads_windows_by_itself(tmp_path):
    encoder, _, texts = load(save_encoder(tmp_path))
    copied = deepcopy(encoder.pretrained)
    np.testing.assert_array_equal(predict_logits(copied, texts, ROWS), predict_logits(encoder.pretrained, texts, ROWS))
    hooks = [next(iter(model._forward_hooks.values())).__self__ for model in (encoder.pretrained, copied)]
    assert hooks[0] is not hooks[1]


def test_texts_that_are_short_enough_are_read_as_ever(tmp_path):
    encoder, plain, texts = load(save_encoder(tmp_path), ["the plot is good", "", "film"])
    rows = np.arange(3)
    np.testing.assert_array_equal(predict_logits(encoder.pretrained, texts, rows), predict_logits(plain, texts, rows))


def test_a_line_says_that_the_model_takes_less(tmp_path, caplog):
    config = RunConfig.of(model=str(save_encoder(tmp_path)), max_length=100)
    make_learner(["good"], ["a", "b"], config)
    assert f"--max-length is 100, and {tmp_path} takes 32 tokens at most" in caplog.messages


def test_a_model_that_starts_from_one_with_windows_need_not_read_them(tmp_path):
    learner = learner_of(save_encoder(tmp_path / "base"), "margin", steps=2)
    learner.trained_model()
    learner.save_pretrained(tmp_path / "saved")
    texts = [TEXTS[1], "good"]
    config = RunConfig.of(model=str(tmp_path / "saved"), max_length=LONGEST, steps=2, new_head=True)
    again = make_learner(texts, ["a", "b"], config).core
    again.tell([0, 1], [0, 1])
    assert again.pool.texts.lengths.tolist()[0] == LONGEST
    again.trained_model()
    again.save_pretrained(tmp_path / "again")
    for file in ("config.json", "tokenizer_config.json"):
        assert "window" not in (tmp_path / "again" / file).read_text()
