"""Every architecture that AutoModelForSequenceClassification knows: a step, two queries, a batch, a pipeline."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import tiny_tokenizer
from model_zoo import save_tiny, tiny
from transformers import CONFIG_MAPPING, pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.interpretation.word_gradients import by_token, embedding_hook, interpret
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.inference import predict_features, predict_logits, predict_probabilities
from dami_text.models.last_layer import head_of
from dami_text.models.loading import load_classifier, texts_for
from dami_text.strategies.badge import Badge

TEXTS = ["the film is good", "", "w1 zzz, w2.", "great cast and dull plot " * 3, "bad", "the music is boring"]
ROWS = np.arange(len(TEXTS))

#: One of each family, in the suite; the others are run by `pytest -m slow`.
SAMPLE = {
    *("bert", "deberta-v2", "modernbert", "eurobert", "longformer", "ibert", "nystromformer", "funnel", "xlnet"),
    *("xmod", "gpt2", "ctrl", "bloom", "qwen3", "gemma2", "mixtral", "jamba", "qwen3_next", "t5", "bart"),
}

#: What is not made here, and why.
SKIPPED = {
    **dict.fromkeys(("gemma3", "modernvbert", "qwen3_5", "ultravbert"), "reads images too; its text model is tried"),
    **dict.fromkeys(("layoutlmv2", "layoutlmv3", "tapas"), "reads the layout of a page or a table too"),
    **dict.fromkeys(("luke", "perceiver"), "has another input than tokens, and 10^8 weights at its smallest"),
}

#: What is refused, and what the line says.
REFUSED = {
    **dict.fromkeys(("t5gemma", "t5gemma2"), "an encoder and a decoder with a configuration each"),
    **dict.fromkeys(("canine", "reformer"), "cannot classify texts by their tokens alone, with gradients by the"),
}

#: Encoders with a decoder, of which the encoder alone is taken: the head is dami_text's.
WITH_DECODER = ("bart", "bigbird_pegasus", "mbart", "mt5", "mvp", "plbart", "t5", "umt5")

#: Where padding or the other texts of a batch change what a model makes of a text, in transformers too.
BATCH_MATTERS = {
    "convbert": "its convolutions read padding",
    "fnet": "it mixes all places, padding among them",
    "nystromformer": "the inverse that it approximates starts from a maximum over the batch",
    "yoso": "it hashes at random",
}

#: Where transformers alone does not pad as the model needs.
NOT_BY_PIPELINE = {"funnel", "nystromformer", "yoso"}


def of_type(model_type):
    options = {"num_landmarks": 4, "segment_means_seq_len": 32} if model_type == "nystromformer" else {}
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer, options


TRIED = [
    pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow)
    for name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if name not in SKIPPED | REFUSED
]


@pytest.mark.parametrize("model_type", TRIED)
def test_an_architecture_learns_is_asked_and_is_saved(model_type, tmp_path):
    tokenizer, options = of_type(model_type)
    folder = save_tiny(model_type, tmp_path / "base", tokenizer, **options)
    config = RunConfig.of(model=str(folder), steps=1, strategy="dami", max_length=32)
    learner = make_learner(TEXTS, ["a", "b", "c"], config)
    learner.tell([0, 2, 4], [0, 1, 2])
    before = {name: weight.clone() for name, weight in learner.core._new_model().state_dict().items()}
    model, texts = learner.trained_model(), learner.pool.texts
    assert any(not torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    query = learner.ask(2)
    assert len(query.rows) == 2
    assert len(Badge().query(model, learner.pool, 2, np.random.default_rng(0)).rows) == 2

    logits = predict_logits(model, texts, ROWS)
    assert np.isfinite(logits).all()
    if model_type not in BATCH_MATTERS:
        single = [predict_logits(model, texts, ROWS[i : i + 1])[0] for i in ROWS]
        np.testing.assert_allclose(logits, single, atol=1e-5)
        with torch.no_grad():
            head = head_of(model)(torch.from_numpy(predict_features(model, texts, ROWS)))
        np.testing.assert_allclose(head, logits, atol=1e-5)

    learner.save_pretrained(tmp_path / "saved")
    again, tokenizer = load_classifier(tmp_path / "saved", None)
    if model_type != "yoso":
        theirs = predict_logits(again, texts_for(tokenizer, texts.as_dataset()), ROWS)
        np.testing.assert_allclose(theirs, logits, atol=1e-5)
    if model_type not in NOT_BY_PIPELINE:
        classify = pipeline("text-classification", model=str(tmp_path / "saved"), top_k=None)
        for row in (0, 3):
            found = {each["label"]: each["score"] for each in classify([TEXTS[row]])[0]}
            own = predict_probabilities(model, texts, ROWS[row : row + 1])[0]
            np.testing.assert_allclose([found[name] for name in "abc"], own, atol=1e-5)


@pytest.mark.parametrize("model_type", REFUSED)
def test_an_architecture_that_is_refused_is_told_so_in_one_line(model_type, tmp_path):
    if "t5gemma" in model_type:  # before any weight is read
        CONFIG_MAPPING[model_type]().save_pretrained(tmp_path)
        tiny_tokenizer().save_pretrained(tmp_path)
    else:
        save_tiny(model_type, tmp_path)
    with pytest.raises(ConfigError, match=f"is a {model_type}, .*{REFUSED[model_type]}") as error:
        load_encoder(ModelConfig(model=str(tmp_path)), ["a", "b"], 32, 0)
    assert "\n" not in str(error.value)


# Embeddings in another shape than the batch's ------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["bert", "xlnet", "longformer", "ibert", "nystromformer", "funnel"])
def test_interpretations_by_finite_differences(model_type, tmp_path):
    """Each piece's embedding is moved by a step, of one text without padding on our side."""
    tokenizer, options = of_type(model_type)
    folder = save_tiny(model_type, tmp_path, tokenizer, **options)
    encoder = load_encoder(ModelConfig(model=str(folder)), ["a", "b"], 32, 0)
    model = encoder.pretrained.double()
    batch = texts_for(encoder.tokenizer, Dataset.from_dict({"text": TEXTS})).collate(np.array([0]))
    found = interpret(model, batch, "logit")[0]
    with embedding_hook(model) as embedded, torch.no_grad():
        model(**batch.inputs)
    embeddings = embedded[0].detach()
    assert by_token(model, embeddings, batch).shape == (1, batch.input_ids.shape[1], embeddings.shape[-1])

    def log_odds(moved):
        layer = model.get_input_embeddings()
        hook = layer.register_forward_hook(lambda *a: (moved, *a[2][1:]) if isinstance(a[2], tuple) else moved)
        with torch.no_grad():
            logits = model(**batch.inputs).logits[0]
        hook.remove()
        return float(logits[1] - logits[0])

    step, word, d = 1e-3, 3, 2  # some compute their softmax in single precision, whatever the model's
    for token in torch.nonzero(batch.word_ids[0] == word).flatten().tolist():
        moves = []
        for sign in (1, -1):
            moved = embeddings.clone()
            by_token(model, moved, batch)[0, token, d] += sign * step
            moves.append(log_odds(moved))
        found[word, d] -= (moves[0] - moves[1]) / (2 * step)
    assert abs(float(found[word, d])) < 0.005 * float(found.abs().max())


def test_a_nystromformer_is_given_its_own_length(tmp_path):
    """Against transformers' own call of ids and a mask that were padded by hand."""
    tokenizer, options = of_type("nystromformer")
    config = ModelConfig(model=str(save_tiny("nystromformer", tmp_path, tokenizer, **options)))
    encoder = load_encoder(config, ["a", "b"], 99, 0)
    assert encoder.tokenizer.model_max_length == 32
    plain = tiny("nystromformer", **options)
    plain.load_state_dict(encoder.pretrained.state_dict())
    ids = torch.tensor([[2, 7, 9, 3]])
    mask = torch.zeros(1, 1, 1, 32).masked_fill(torch.arange(32) >= 4, torch.finfo(torch.float32).min)
    with torch.no_grad():
        expected = plain(torch.nn.functional.pad(ids, (0, 28)), attention_mask=mask).logits
        found = encoder.pretrained(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(found, expected)
