"""Sentence encoders that are decoders or have one, against sentence-transformers and transformers themselves."""

from itertools import product

import numpy as np
import pytest
import torch
from datasets import Dataset
from model_zoo import byte_tokenizer, piece_tokenizer, save_tiny, tiny_config
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, LlamaTokenizer, T5EncoderModel

import dami_text.models.auto
from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.interpretation.word_gradients import interpret
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.frozen_features import frozen_features
from dami_text.models.loading import texts_for
from dami_text.models.sentence_encoder import SentenceEncoderForSequenceClassification

TEXTS = ["the plot is good", "w1 w2 w3, the cast is stale", "film", "The END zzz is " + "great " * 8]
INSTRUCTION = "Instruct: find the film\nQuery:"


def ending_tokenizer():
    """Llama's own class, with `add_eos_token`."""
    own = piece_tokenizer().backend_tokenizer
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "g"), ("▁g", "o"), ("▁go", "o"), ("▁goo", "d")]
    return LlamaTokenizer(vocab=own.get_vocab(), merges=merges, add_eos_token=True, pad_token="<unk>")


TOKENIZERS = {
    "ends": lambda: byte_tokenizer(ends=True),
    "no end": byte_tokenizer,
    "pieces": piece_tokenizer,
    "add_eos_token": ending_tokenizer,
}


def saved(folder, kind, tokenizer, pooling, prompt="", pools_prompt=True):
    """A folder as sentence-transformers writes it, padded on the left, and what it makes of the texts."""
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.init_kwargs["padding_side"] = "right" if kind == "t5" else "left"
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = tiny_config(kind, vocab_size=len(tokenizer), **special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = T5EncoderModel(config) if kind == "t5" else AutoModel.from_config(config)
    transformer.eval().save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    modules = [Transformer(str(folder / "base")), Pooling(16, pooling_mode=pooling, include_prompt=pools_prompt)]
    prompts = {"prompts": {"query": prompt}, "default_prompt_name": "query"} if prompt else {}
    library.SentenceTransformer(modules=[*modules, Normalize()], device="cpu", **prompts).save(str(folder / "model"))
    return folder / "model", library.SentenceTransformer(str(folder / "model"), device="cpu").encode(TEXTS)


def load(path, **options):
    return load_encoder(ModelConfig(model=str(path), **{"freeze_encoder": True, **options}), ["a", "b"], 64, 0)


def features(encoder):
    texts = texts_for(encoder.tokenizer, Dataset.from_dict({"text": TEXTS}))
    return frozen_features(encoder.pretrained, texts)[:]


# Against sentence-transformers -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pooling", ["lasttoken", "weightedmean"])
@pytest.mark.parametrize(("kind", "tokenizer"), [*product(["qwen3", "llama"], TOKENIZERS)])
def test_features_of_a_decoder(kind, tokenizer, pooling, tmp_path):
    folder, expected = saved(tmp_path, kind, TOKENIZERS[tokenizer](), pooling)
    encoder = load(folder)
    np.testing.assert_allclose(features(encoder), expected, atol=1e-5)
    ids = encoder.tokenizer("film")["input_ids"]
    assert (ids[-1] == encoder.tokenizer.eos_token_id) == (tokenizer in ("ends", "add_eos_token"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pools_prompt", [True, False])
@pytest.mark.parametrize(
    ("tokenizer", "prompt"), [("ends", INSTRUCTION), *product(["ends", "no end", "pieces"], [INSTRUCTION + " "])]
)
def test_features_after_an_instruction(tokenizer, prompt, pools_prompt, tmp_path):
    folder, expected = saved(tmp_path, "qwen3", TOKENIZERS[tokenizer](), "weightedmean", prompt, pools_prompt)
    encoder = load(folder)
    np.testing.assert_allclose(features(encoder), expected, atol=1e-5)
    texts = texts_for(encoder.tokenizer, Dataset.from_dict({"text": TEXTS}))
    assert [texts.word(0, i) for i in range(4)] == ["the", "plot", "is", "good"], "the prompt's are none of the text's"
    batch = texts.collate(np.array([0]))
    assert batch.is_word.tolist() == [[True] * 4]
    assert interpret(encoder.pretrained, batch).shape == (1, 4, 16)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("prompt", ["", "query: "])
@pytest.mark.parametrize("pooling", ["mean", "lasttoken"])
def test_features_of_a_t5_encoder(pooling, prompt, tmp_path):
    folder, expected = saved(tmp_path, "t5", piece_tokenizer(), pooling, prompt)
    np.testing.assert_allclose(features(load(folder)), expected, atol=1e-5)


# T5 and BART without such files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize("how", [{"freeze_encoder": True}, {"contrastive": True}, {"steps": 3, "learning_rate": 1e-2}])
def test_the_encoder_alone_is_pooled_by_the_mean_and_saved(kind, how, tmp_path):
    folder = save_tiny(kind, tmp_path / "base", piece_tokenizer(), pad_token_id=0)
    learner = make_learner(TEXTS, ["a", "b"], RunConfig.of(model=str(folder), **how))
    plain, tokenizer = AutoModel.from_pretrained(folder).eval().get_encoder(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        expected = plain(**tokenizer("the plot is good", return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    np.testing.assert_allclose(features(load(folder))[0], expected.numpy(), atol=1e-5)

    learner.tell([0, 1, 2], [0, 1, 0])
    model = learner.trained_model()
    learner.save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert dami_text.models.auto.is_own(again)
    assert isinstance(again, SentenceEncoderForSequenceClassification)
    ids = torch.tensor([[1, 6, 9]])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model.eval()(ids).logits)
    assert not any("decoder" in name for name in again.state_dict())
