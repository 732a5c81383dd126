"""Sentence encoders against sentence-transformers itself: pooling, layers, prompts, lengths; and what is refused."""

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import save_encoder, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from dami_text.cli import run as cli
from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError
from dami_text.interpretation.word_gradients import interpret
from dami_text.learning.factory import make_learner
from dami_text.models.encoder import load_encoder
from dami_text.models.frozen_features import frozen_features
from dami_text.models.sentence_encoder import POOLING

TEXTS = ["the plot is good", "w1 w2 w3, the cast is stale", "", "film", "The END zzz is " + "great " * 40]


def load(path, max_length=512, **options):
    return load_encoder(ModelConfig(model=str(path), **{"freeze_encoder": True, **options}), ["a", "b"], max_length, 0)


def features(encoder, texts=TEXTS):
    encoded = encode(Dataset.from_dict({"text": texts}), encoder.tokenizer)
    return frozen_features(encoder.pretrained, EncodedTexts(encoded, encoder.tokenizer))[:]


def written(folder, pooling, layers=(), options=None, prompts=None, default=None, **of_pooling):
    """A folder as sentence-transformers of version 3 and later wrote it, without needing it: of a tiny BERT."""
    save_encoder(folder)
    modules = ["Transformer", "Pooling", *(kind for kind, _ in layers)]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.{kind}"}
                for i, kind in enumerate(modules)
            ]
        )
    )
    for i, values in enumerate([{"pooling_mode": pooling, **of_pooling}, *(values for _, values in layers)], 1):
        (folder / f"{i}_{modules[i]}").mkdir()
        (folder / f"{i}_{modules[i]}" / "config.json").write_text(json.dumps(values))
    (folder / "sentence_bert_config.json").write_text(json.dumps(options or {}))
    told = {"prompts": prompts or {}, "default_prompt_name": default}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    return folder


# Against sentence-transformers -------------------------------------------------------------------------------------

WAYS = [*POOLING, ("max", "mean")]


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("sentence_transformers")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("way", "pools_prompt"), [*product(WAYS, [True, False])])
def test_features_are_those_of_sentence_transformers(way, pools_prompt, library, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    transformer = Transformer(str(save_encoder(tmp_path / "base")), max_seq_length=20)
    size = 16 if isinstance(way, tuple) else 8
    if pools_prompt:
        rest = [Dense(size, 6), Normalize()]
    else:
        rest = [Dense(size, size, activation_function=torch.nn.Identity(), use_residual=True)]
    theirs = library.SentenceTransformer(
        modules=[transformer, Pooling(8, pooling_mode=way, include_prompt=pools_prompt), *rest],
        prompts={"query": "film : "},
        default_prompt_name="query",
        device="cpu",
    )
    theirs.save(str(tmp_path / "model"))
    np.testing.assert_allclose(features(load(tmp_path / "model")), theirs.encode(TEXTS), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_real_minilm_is_read_as_sentence_transformers_reads_it(library, minilm):
    expected = library.SentenceTransformer(str(minilm), device="cpu").encode(TEXTS)
    found = features(load(minilm))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


# By hand -----------------------------------------------------------------------------------------------------------


def states(folder, text):
    """The last states (T, D) of a text alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        return model.eval().base_model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()


def test_a_frozen_encoder_without_such_files_is_pooled_by_the_mean(tmp_path):
    folder = save_encoder(tmp_path / "bert")
    encoder = load(folder)
    found = features(encoder)
    for row in (0, 1, 3):
        np.testing.assert_allclose(found[row], states(folder, TEXTS[row]).mean(axis=0), atol=1e-5)
    assert type(load(folder, freeze_encoder=False).pretrained).__name__ == "BertForSequenceClassification"


def test_older_options_of_the_pooling_are_read_in_their_order(tmp_path):
    older = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": False}
    folder = written(tmp_path / "model", None, **older)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(older))
    own = states(folder, TEXTS[0])
    np.testing.assert_allclose(features(load(folder))[0], [*own[0], *own.mean(axis=0)], atol=1e-5)


def test_the_tokenizer_lower_cases_and_cuts_as_the_files_say(tmp_path):
    folder = written(tmp_path / "model", "mean", options={"max_seq_length": 6, "do_lower_case": True})
    tokenizer = load(folder).tokenizer
    assert tokenizer.model_max_length == 6
    assert load(folder, max_length=5).tokenizer.model_max_length == 5
    assert tokenizer("THE PLOT")["input_ids"] == tiny_tokenizer()("the plot")["input_ids"]


def test_a_prompt_is_no_word_of_a_text(tmp_path):
    folder = written(tmp_path / "model", "mean", prompts={"query": "film : "}, default="query")
    encoder = load(folder)
    texts = EncodedTexts(encode(Dataset.from_dict({"text": TEXTS}), encoder.tokenizer), encoder.tokenizer)
    pieces = encoder.tokenizer.convert_ids_to_tokens(texts.token_ids(3))
    assert pieces == ["[CLS]", "film", "[UNK]", "film", "[SEP]"]  # the tiny vocabulary has no colon
    batch = texts.collate(np.array([3]))
    assert batch.word_ids.tolist() == [[-1, -1, -1, 0, -1]]
    assert texts.word(3, 0) == "film"
    assert interpret(encoder.pretrained, batch).shape == (1, 1, 8)
    encoder.tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again("film")["input_ids"] == texts.token_ids(3).tolist()


def test_an_unfrozen_sentence_encoder_keeps_its_pooling_and_learns_whole(tmp_path):
    folder = written(tmp_path / "model", "mean")
    texts = ["the plot is good", "the cast is good", "the plot is bad", "the cast is bad"]
    learner = make_learner(texts, ["neg", "pos"], RunConfig.of(model=str(folder), steps=30, learning_rate=1e-2))
    learner.tell([0, 1, 2, 3], [1, 1, 0, 0])
    before = load(folder, freeze_encoder=False).pretrained.state_dict()
    after = learner.trained_model().state_dict()
    assert all(not torch.equal(after[name], weight) for name, weight in before.items() if "key.bias" not in name)


# Its life ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_saves_what_pipelines_load(frozen, tmp_path, reviews):
    layers = [("Dense", {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.ReLU"})]
    folder = written(tmp_path / "encoder", "mean", layers, prompts={"query": "film : "}, default="query")
    torch.manual_seed(0)
    linear = torch.nn.Linear(8, 4)
    torch.save(
        {f"linear.{name}": weight for name, weight in linear.state_dict().items()}, folder / "2_Dense/pytorch_model.bin"
    )
    sizes = ["--initial-size", "12", "--query-size", "6", "--budget", "18"]
    how = ["--freeze-encoder"] if frozen else ["--epochs", "2", "--epoch-steps", "2"]
    command = ["--dataset", str(reviews), "--model", str(folder), "--strategy", "margin", *sizes, *how]
    assert cli.run_al([*command, "--output-dir", str(tmp_path / "run")]) == 0
    saved = tmp_path / "run" / "model"
    model = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved)
    (found,) = pipeline("text-classification", model=str(saved))(["the plot is good"])
    with torch.no_grad():
        own = torch.softmax(model(**tokenizer("the plot is good", return_tensors="pt")).logits, dim=-1)[0]
    assert model.config.id2label[int(own.argmax())] == found["label"]
    assert found["score"] == pytest.approx(float(own.max()), abs=1e-5)
    assert cli.run_al([*command, "--export-code", "--output-dir", str(tmp_path / "run")]) == 0
    config = json.loads((saved / "config.json").read_text())
    assert config["auto_map"]["AutoModelForSequenceClassification"].endswith("SentenceEncoderForSequenceClassification")
    assert {"sentence_encoder.py", "mlp.py", "word_level.py"} <= {file.name for file in saved.iterdir()}
    if frozen:
        torch.testing.assert_close(model.encoder.layers[0].linear.weight, linear.weight)


def test_a_frozen_run_is_as_good_as_scikit_learn_on_its_features(tmp_path, reviews):
    folder = written(tmp_path / "encoder", "mean")
    sizes = ["--initial-size", "40", "--query-size", "20", "--budget", "60", "--strategy", "random", "--freeze-encoder"]
    assert (
        cli.run_al(["--dataset", str(reviews), "--model", str(folder), *sizes, "--output-dir", str(tmp_path / "r")])
        == 0
    )
    *_, last = map(json.loads, (tmp_path / "r" / "rounds.jsonl").read_text().splitlines())
    assert last["metrics"]["accuracy"] > 0.55


# What is refused ---------------------------------------------------------------------------------------------------


def refused(folder):
    with pytest.raises(ConfigError) as error:
        load(folder)
    said = str(error.value)
    assert "\n" not in said
    return said


def test_a_module_that_is_not_known(tmp_path):
    folder = written(tmp_path / "model", "mean", [("WeightedLayerPooling", {})])
    assert "modules.json names 'sentence_transformers.WeightedLayerPooling', and known are Transformer" in refused(
        folder
    )
    (folder / "modules.json").write_text('[{"type": "a.Transformer", "path": ""}]')
    assert "modules.json names Transformer; wanted a Transformer, a Pooling" in refused(folder)
    (folder / "modules.json").write_text('[{"kind": 1}]')
    assert "not as sentence-transformers writes them (KeyError: 'type'); download it again" in refused(folder)
    (folder / "modules.json").write_text("[")
    assert "modules.json is damaged" in refused(folder)


def test_pooling_and_layers_that_are_not_known(tmp_path):
    assert "pools by 'median', and known are cls, max" in refused(written(tmp_path / "a", "median"))
    dense = {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.Softsign"}
    folder = written(tmp_path / "b", "mean", [("Dense", dense)])
    assert "has no weights in 2_Dense (model.safetensors or pytorch_model.bin)" in refused(folder)
    (folder / "2_Dense" / "model.safetensors").write_bytes(b"no weights")
    assert "the weights in 2_Dense are damaged" in refused(folder)
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save(
        {"linear.weight": torch.zeros(4, 8), "linear.bias": torch.zeros(4)}, folder / "2_Dense/pytorch_model.bin"
    )
    assert "has the activation Softsign, and known are Identity" in refused(folder)
    (folder / "2_Dense" / "config.json").write_text(json.dumps({**dense, "module_input_name": "token_embeddings"}))
    assert "reads or writes token_embeddings; wanted sentence_embedding" in refused(folder)


def test_weights_that_are_missing_or_do_not_fit(tmp_path):
    folder = written(tmp_path / "a", "mean")
    (folder / "model.safetensors").unlink()
    assert "cannot be loaded" in refused(folder)
    dense = {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.Tanh"}
    folder = written(tmp_path / "b", "mean", [("Dense", dense)])
    torch.save(
        {"linear.weight": torch.zeros(3, 8), "linear.bias": torch.zeros(3)}, folder / "2_Dense/pytorch_model.bin"
    )
    assert "cannot be loaded" in refused(folder)


def test_a_prompt_whose_end_no_token_respects(tmp_path):
    folder = written(tmp_path / "model", "mean", prompts={"query": "fil"}, default="query")
    assert "has the prompt 'fil', and its tokenizer does not end a token where it ends" in refused(folder)


def test_an_unknown_script_is_counted_in_a_warning(tmp_path, caplog):
    folder = written(tmp_path / "model", "mean")
    texts = ["the plot is good", "ქართული ტექსტი", "русский текст", "the cast is bad"]
    learner = make_learner(
        texts, ["neg", "pos"], RunConfig.of(model=str(folder), freeze_encoder=True, strategy="margin")
    )
    assert (
        "most pieces of 2 of 4 texts are unknown to the tokenizer of the encoder, such as 'ქართული ტექსტი'; choose an "
        "encoder of their language, or --model linear" in caplog.messages
    )
    learner.tell([0, 3], [1, 0])
    assert len(learner.ask(2).rows) == 2


def test_options_of_steps_have_no_effect_on_a_frozen_encoder(tmp_path):
    with pytest.raises(ConfigError, match="learning_rate has no effect on model x/y with freeze_encoder; leave it out"):
        RunConfig.of(model="x/y", freeze_encoder=True, learning_rate=0.1)


def test_modules_of_a_folder_within(tmp_path):
    """Older models keep the transformer in a folder of its own."""
    folder = written(tmp_path / "model", "mean")
    expected = features(load(folder))
    own = folder / "0_Transformer"
    own.mkdir()
    for name in [file.name for file in folder.iterdir() if file.is_file()]:
        if "sentence_transformers" not in name and name != "modules.json":
            shutil.move(folder / name, own / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    np.testing.assert_allclose(features(load(folder)), expected, atol=1e-6)
    assert isinstance(folder, Path)
