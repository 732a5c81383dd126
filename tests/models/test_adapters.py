"""Low-rank adapters: what learns and what does not, what is saved and merged, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from encoder_cases import save_encoder, tiny_tokenizer
from labeling_cases import label_some, make_session, texts_without_labels
from model_zoo import byte_tokenizer, save_tiny
from safetensors.torch import load_file
from test_architectures import REFUSED, SKIPPED, of_type
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

pytest.importorskip("peft", reason="no adapters: pip install 'dami_text[peft]'")

from dami_text.cli.predict import predict
from dami_text.cli.run import run_al
from dami_text.config.options import ModelConfig
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, RecordError
from dami_text.interpretation.word_gradients import interpret
from dami_text.labeling.final import fine_tuning, train_final
from dami_text.learning.factory import make_learner
from dami_text.models import adapters
from dami_text.models.adapters import ALPHA, merge_copy
from dami_text.models.encoder import load_encoder
from dami_text.models.inference import has_dropout, predict_logits, predict_probabilities
from dami_text.models.last_layer import head_of
from dami_text.models.loading import load_classifier
from dami_text.models.shared_weights import own_weights
from dami_text.randomness import torch_stream

TEXTS = ["the film is good", "the plot is dull", "great music", "bad cast, w2.", "the ending is fresh", "boring camera"]
LABELS = [1, 0, 1, 0, 1, 0]
ROWS, CLASSES = np.arange(len(TEXTS)), ["neg", "so-so", "pos"]
RANK = 2

#: Architectures of which a tiny model is made. The linear layers of Falcon and I-BERT are classes of their own.
MADE = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys() - SKIPPED.keys() - REFUSED.keys() - {"falcon", "ibert"}


def save(kind, folder):
    """A folder as --model takes it: an encoder, a decoder of each order of weights, and a sentence encoder."""
    if kind == "sentence encoder":
        save_encoder(folder / "whole")
        AutoModel.from_pretrained(folder / "whole").save_pretrained(folder / kind)
        tiny_tokenizer().save_pretrained(folder / kind)
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ]
        (folder / kind / "modules.json").write_text(json.dumps(modules))
        (folder / kind / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}
        (folder / kind / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        return folder / kind
    return save_encoder(folder / kind) if kind == "bert" else save_tiny(kind, folder / kind, byte_tokenizer())


KINDS = ["bert", "gpt2", "qwen3", "sentence encoder"]


def learner_of(folder, strategy="dami", class_names=("neg", "pos"), **options):
    options = {"steps": 8, "learning_rate": 0.05, "lora": RANK, **options}
    return make_learner(TEXTS, class_names, RunConfig.of(model=str(folder), strategy=strategy, **options)).core


def told(folder, rows=(0, 1, 2, 3), labels=LABELS, **options):
    learner = learner_of(folder, **options)
    learner.tell(rows, [labels[row] for row in rows])
    return learner


def encoder_of(folder, **options):
    return load_encoder(ModelConfig(model=str(folder), **{"lora": RANK, **options}), ["neg", "pos"], 32, 0)


def copied(weights):
    return {name: weight.clone() for name, weight in weights.items()}


def is_adapters(name):
    return ".lora_" in name


# What learns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_and_the_head_learn_from_a_base_that_is_loaded_once(kind, tmp_path, monkeypatch):
    folder, loaded = save(kind, tmp_path), []
    load = PreTrainedModel.from_pretrained.__func__
    counting = classmethod(lambda cls, *args, **options: loaded.append(cls) or load(cls, *args, **options))
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", counting)
    learner = told(folder)
    pretrained = learner._new_model.__self__.encoder.pretrained
    base = copied(pretrained.base_model.state_dict())
    with torch_stream(0, 0, "training"):
        start = copied(learner._new_model().state_dict())
    first = learner.trained_model()
    changed = {name for name, weight in first.state_dict().items() if not torch.equal(weight, start[name])}
    head = {name for name, _ in first.named_parameters() if not name.startswith(first.base_model_prefix)}
    assert changed == {name for name in start if is_adapters(name)} | head

    learner.tell([4], [1])
    second = learner.trained_model()
    assert len(loaded) == 1
    for name, weight in pretrained.base_model.state_dict().items():
        assert torch.equal(weight, base[name])
    shared = [{w.data_ptr() for w in model.base_model.parameters() if not w.requires_grad} for model in (first, second)]
    assert shared[0] == shared[1] == {weight.data_ptr() for weight in pretrained.base_model.parameters()}


def test_each_round_draws_a_new_adapter_and_head_by_seed_and_round(tmp_path):
    encoder = encoder_of(save("bert", tmp_path))
    models = []
    for seed, number in ((0, 1), (0, 1), (0, 2), (1, 1)):
        with torch_stream(seed, number, "training"):
            models.append(own_weights(encoder.new_model()))
    drawn = [name for name in models[0] if "lora_B" not in name and not name.endswith("bias")]
    assert any("lora_A" in name for name in drawn)
    assert "classifier.weight" in drawn
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not any(torch.equal(models[0][name], other[name]) for other in models[2:] for name in drawn)
    assert not any(weight.any() for name, weight in models[0].items() if "lora_B" in name)


def test_an_adapted_layer_by_hand(tmp_path):
    encoder = encoder_of(save("bert", tmp_path))
    model, x = encoder.new_model().eval(), torch.randn(3, 8)
    layer = model.bert.encoder.layer[0].attention.self.query
    A, B = (matrix.default.weight for matrix in (layer.lora_A, layer.lora_B))
    assert (A.shape, B.shape) == ((RANK, 8), (8, RANK))
    nn.init.normal_(B)
    W = encoder.pretrained.bert.encoder.layer[0].attention.self.query
    expected = x @ W.weight.T + W.bias + ALPHA / RANK * (x @ A.T @ B.T)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("kind", "n"), [("bert", 12), ("gpt2", 8), ("qwen3", 14), ("sentence encoder", 12)])
def test_all_linear_layers_of_the_base_are_adapted(kind, n, tmp_path):
    """Of two blocks each: BERT has six, GPT-2 four and Qwen seven of them in a block; BERT's pooler is another one."""
    model = encoder_of(save(kind, tmp_path)).new_model()
    adapted = [name for name, _ in model.named_modules() if name.endswith(".lora_A.default")]
    assert len(adapted) == n + (kind == "bert")


def test_a_kept_head_is_kept(tmp_path):
    folder = save_encoder(tmp_path, id2label={0: "pos", 1: "neg"}, label2id={"pos": 0, "neg": 1})
    encoder, whole = encoder_of(folder), encoder_of(folder, lora=None)
    assert encoder.knows_classes
    texts = learner_of(folder).pool.texts
    given = [predict_logits(each.new_model(), texts, ROWS) for each in (encoder, whole)]
    np.testing.assert_array_equal(*given)  # for B starts at zero


def test_weights_that_the_checkpoint_lacks_are_trained_and_saved(tmp_path, caplog):
    AutoModel.from_pretrained(save_encoder(tmp_path / "a"), add_pooling_layer=False).save_pretrained(tmp_path / "b")
    tiny_tokenizer().save_pretrained(tmp_path / "b")
    learner = told(tmp_path / "b")
    assert "lacks 2 weights, such as bert.pooler.dense.bias: drawn at random" in caplog.text
    before = learner._new_model.__self__.encoder.pretrained.bert.pooler.dense.weight.clone()
    after = learner.trained_model().bert.pooler.dense.weight
    assert not torch.equal(before, after)
    learner.save_pretrained(tmp_path / "saved")
    said = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert said["modules_to_save"] == ["bert.pooler.dense", "classifier"]
    model, _ = load_classifier(tmp_path / "saved", None)
    assert torch.equal(model.bert.pooler.dense.weight, after)


def test_models_with_a_frozen_encoder_share_it(tmp_path):
    encoder = encoder_of(save("bert", tmp_path), lora=None, freeze_encoder=True)
    first, second = encoder.new_model(), encoder.new_model()
    bases = [[weight.data_ptr() for weight in model.base_model.parameters()] for model in (first, second)]
    assert bases[0] == bases[1]
    assert first.classifier.weight.data_ptr() != second.classifier.weight.data_ptr()
    assert own_weights(first).keys() == {"classifier.weight", "classifier.bias"}


# What strategies ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_interpretations_are_those_of_the_merged_model(kind, tmp_path):
    learner = told(save(kind, tmp_path))
    model = learner.trained_model()
    batch = learner.pool.texts.collate(ROWS)
    found = interpret(model, batch)
    assert found.abs().max() > 1e-4
    torch.testing.assert_close(found, interpret(merge_copy(model), batch), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("strategy", ["dami", "badge", "coreset", "bald", "egl", "egl-word", "kmeans-features"])
@pytest.mark.parametrize("kind", ["bert", "qwen3", "sentence encoder"])
def test_every_kind_of_strategy_asks(kind, strategy, tmp_path):
    learner = told(save(kind, tmp_path), strategy=strategy)
    asked = learner.ask(2).rows.tolist()
    assert set(asked) == {4, 5}


def test_the_adapter_has_dropout_that_bald_samples_where_a_decoder_has_none(tmp_path):
    folder = save("qwen3", tmp_path)
    encoder = encoder_of(folder)
    assert not has_dropout(encoder.pretrained)
    assert has_dropout(encoder.new_model())
    query = told(folder, strategy="bald").ask(2)
    assert all(reason["score"] > 0 for reason in query.reasons)


def test_weights_that_another_process_trained_are_taken(tmp_path):
    folder = save("bert", tmp_path)
    learner, other = told(folder), told(folder)
    weights = copied(own_weights(learner.trained_model()))
    assert not any("base_layer" in name or "embeddings" in name for name in weights)
    other.restore(weights)
    texts = learner.pool.texts
    given = [predict_logits(each.trained_model(), texts, ROWS) for each in (learner, other)]
    np.testing.assert_array_equal(*given)
    other.restore(learner.trained_model().state_dict())  # as files of versions before this have them
    del weights["classifier.bias"]
    with pytest.raises(ValueError, match=r"weights of another model: without \['classifier.bias'\]"):
        other.restore(weights)
    with pytest.raises(ValueError, match=r"of another model: without \[\], with \['more'\]"):
        other.restore({**own_weights(learner.trained_model()), "more": torch.zeros(1)})


# What is saved -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_and_a_merged_model_predict_as_the_model_did(kind, tmp_path):
    learner = told(save(kind, tmp_path))
    learner.save_pretrained(tmp_path / "adapter")
    learner.save_pretrained(tmp_path / "merged", merged=True)
    expected = predict_probabilities(learner.trained_model(), learner.pool.texts, ROWS)
    for name in ("adapter", "merged"):
        model, tokenizer = load_classifier(tmp_path / name, None)
        assert not any(is_adapters(weight) for weight in model.state_dict())
        assert model.config.id2label == {0: "neg", 1: "pos"}
        assert tokenizer.pad_token_id == learner.preprocessor.pad_token_id
        np.testing.assert_allclose(predict_probabilities(model, learner.pool.texts, ROWS), expected, atol=1e-5)
    adapter = {file.name for file in (tmp_path / "adapter").rglob("*") if file.is_file()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= adapter
    assert not (tmp_path / "adapter" / "config.json").exists()
    assert {"config.json", "model.safetensors"} <= {file.name for file in (tmp_path / "merged").iterdir()}
    trained = {name for name, weight in learner.trained_model().named_parameters() if weight.requires_grad}
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert saved.keys() == {f"base_model.model.{name.replace('.default', '')}" for name in trained}


BY_PIPELINE = """
import json, sys, warnings
warnings.simplefilter("error")
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline
name, texts = sys.argv[1], json.loads(sys.argv[2])
if name.endswith("adapter"):  # as its card says
    config = AutoConfig.from_pretrained(name, subfolder="classifier")
    model = AutoModelForSequenceClassification.from_pretrained(name, config=config, ignore_mismatched_sizes=True)
    classify = pipeline("text-classification", model=model, tokenizer=name, top_k=None)
else:
    classify = pipeline("text-classification", model=name, top_k=None)
print(json.dumps([{each["label"]: each["score"] for each in found} for found in classify(texts)]))
"""


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_transformers_loads_both_in_a_new_process(kind, tmp_path):
    learner = told(save(kind, tmp_path), labels=[2, 0, 1, 0], class_names=CLASSES)  # the base has a head of two classes
    learner.save_pretrained(tmp_path / "adapter")
    learner.save_pretrained(tmp_path / "merged", merged=True)
    expected = predict_probabilities(learner.trained_model(), learner.pool.texts, ROWS)
    for name in ("adapter", "merged"):
        command = [sys.executable, "-c", BY_PIPELINE, str(tmp_path / name), json.dumps(TEXTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = [[scores[name] for name in CLASSES] for scores in json.loads(done.stdout.splitlines()[-1])]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_class_without_a_label_is_not_predicted_by_a_saved_adapter_of_a_decoder(tmp_path):
    learner = told(save("qwen3", tmp_path), class_names=["neg", "pos", "other"])
    learner.save_pretrained(tmp_path / "adapter")
    model, _ = load_classifier(tmp_path / "adapter", None)
    assert head_of(model).bias.tolist() == [0, 0, -1e4]
    found = predict_probabilities(model, learner.pool.texts, ROWS)
    np.testing.assert_allclose(
        found, predict_probabilities(learner.trained_model(), learner.pool.texts, ROWS), atol=1e-5
    )
    model.save_pretrained(tmp_path / "merged")
    assert head_of(load_classifier(tmp_path / "merged", None)[0]).bias.tolist() == [0, 0, -1e4]


def test_the_same_adapter_is_the_same_bytes_in_another_process(tmp_path):
    """peft keeps the names of the layers in a set, whose order depends on the process."""
    folder = save("qwen3", tmp_path)
    make = (
        "import sys; from dami_text import make_learner, RunConfig; "
        "l = make_learner(['good', 'bad'], ['a', 'b'], RunConfig.of(model=sys.argv[1], lora=2, steps=2)); "
        "l.tell([0, 1], [0, 1]); l.save_pretrained(sys.argv[2])"
    )
    for hashing in ("1", "2"):
        command = [sys.executable, "-c", make, str(folder), str(tmp_path / hashing)]
        subprocess.run(
            command, check=True, capture_output=True, env={**__import__("os").environ, "PYTHONHASHSEED": hashing}
        )
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / n).rglob("*") if file.is_file()} for n in "12")
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type", [name for name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES if name in MADE]
)
def test_an_adapter_of_each_architecture(model_type, tmp_path):
    tokenizer, options = of_type(model_type)
    learner = told(save_tiny(model_type, tmp_path / "base", tokenizer, **options), max_length=32)
    assert len(learner.ask(2).rows) == 2
    expected = predict_probabilities(learner.trained_model(), learner.pool.texts, ROWS)
    learner.save_pretrained(tmp_path / "saved")
    found = predict_probabilities(load_classifier(tmp_path / "saved", None)[0], learner.pool.texts, ROWS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# Runs and sessions -------------------------------------------------------------------------------------------------


def command(reviews, folder, output, *more):
    sizes = ["--initial-size", "12", "--query-size", "6", "--budget", "18", "--epochs", "2", "--epoch-steps", "2"]
    base = ["--dataset", str(reviews), "--model", str(folder), "--lora", str(RANK), "--strategy", "margin"]
    return [*base, *sizes, "--output-dir", str(output), *more]


def test_a_run_saves_the_adapter_with_its_card_and_merges_it_when_asked(reviews, tmp_path, capsys):
    folder, saved = save("bert", tmp_path), tmp_path / "run" / "model"
    assert run_al(command(reviews, folder, tmp_path / "run")) == 0
    said = json.loads((saved / "adapter_config.json").read_text())
    assert (said["base_model_name_or_path"], said["r"]) == (str(folder), RANK)
    card = (saved / "README.md").read_text()
    assert "library_name: peft" in card
    assert f"low-rank adapter (LoRA) of rank {RANK} beside the linear layers of bert" in card
    assert 'pipeline("text-classification", model=model, tokenizer=name)' in card
    assert str(tmp_path) not in card
    texts = ["the plot is good", "bad", "the music and the ending of the film"]
    file, out = tmp_path / "texts.csv", tmp_path / "out.csv"
    file.write_text("text\n" + "".join(f"{text}\n" for text in texts))

    def predicted():
        predict("predict", [str(tmp_path / "run"), str(file), str(out)], None)
        return np.array([line.split(",")[2:] for line in out.read_text().splitlines()[1:]], float)

    before = predicted()
    rounds = (tmp_path / "run" / "rounds.jsonl").read_bytes()
    assert run_al(command(reviews, folder, tmp_path / "run", "--export-merged")) == 0
    assert not (saved / "adapter_config.json").exists()
    assert not (saved / "classifier").exists()
    assert (saved / "model.safetensors").is_file()
    card = (saved / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "the adapter is merged into the base" in card
    assert 'pipeline("text-classification", model="PATH OR HUB ID OF THIS MODEL")' in card
    np.testing.assert_allclose(predicted(), before, atol=2e-6)
    content = {file: file.read_bytes() for file in saved.iterdir()}
    assert run_al(command(reviews, folder, tmp_path / "run", "--export-merged")) == 0
    assert {file: file.read_bytes() for file in saved.iterdir()} == content
    assert (tmp_path / "run" / "rounds.jsonl").read_bytes() == rounds
    assert run_al(command(reviews, folder, tmp_path / "run", "--lora", "3")) == 1
    assert f"--lora {RANK} there, 3 now" in capsys.readouterr().err


def test_a_saved_adapter_chooses_the_first_texts_of_another_run(reviews, tmp_path):
    folder = save("bert", tmp_path)
    assert run_al(command(reviews, folder, tmp_path / "run")) == 0
    assert run_al(command(reviews, folder, tmp_path / "next", "--init-model", str(tmp_path / "run"))) == 0


def test_an_adapter_without_its_base_says_so(tmp_path):
    learner = told(save("bert", tmp_path))
    learner.save_pretrained(tmp_path / "saved")
    (tmp_path / "bert").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"holds an adapter, whose base cannot be loaded: .*{tmp_path / 'bert'}"):
        load_classifier(tmp_path / "saved", None)


def test_the_code_of_an_adapted_sentence_encoder_goes_with_the_merged_model(reviews, tmp_path):
    folder = save("sentence encoder", tmp_path)
    assert run_al(command(reviews, folder, tmp_path / "run")) == 0
    assert "Classifier.load" in (tmp_path / "run" / "model" / "README.md").read_text()
    assert run_al(command(reviews, folder, tmp_path / "run", "--export-merged", "--export-code")) == 0
    assert (tmp_path / "run" / "model" / "sentence_encoder.py").is_file()


def test_a_session_with_an_adapter(reviews, tmp_path):
    file, truth = texts_without_labels(reviews, tmp_path, 60)
    options = {"word_vectors": "auto", "word_vector_dim": 100, "steps": 6, "strategy": "margin"}
    with make_session(file, tmp_path / "s", model=str(save("bert", tmp_path)), lora=RANK, **options) as session:
        label_some(session, truth, 12)
        made = train_final(session, tmp_path / "adapter")
        assert not made.merged
        assert train_final(session, tmp_path / "adapter") == made
        with pytest.raises(RecordError, match="holds this model as an adapter; choose another"):
            train_final(session, tmp_path / "adapter", merged=True)
        assert train_final(session, tmp_path / "merged", merged=True).merged
        with pytest.raises(ConfigError, match="--fine-tune is for a whole encoder"):
            fine_tuning(session.config)
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert (tmp_path / "merged" / "model.safetensors").is_file()


# What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora": 0}, "--lora is 0; it must be a rank of at least 1"),
        ({"lora": 8, "freeze_encoder": True}, "--lora is 8; it must be left out with --freeze-encoder"),
        ({"lora": 8, "contrastive": True}, "--lora is 8; it must be left out with --contrastive"),
        ({"lora": 8, "model": "cnn"}, "--lora is 8; it must be left out: --model cnn is no pretrained encoder"),
        ({"lora": 8, "model": "auto"}, "--lora is 8; it must be left out: --model auto is no pretrained encoder"),
    ],
)
def test_options_that_do_not_go_with_an_adapter(options, message):
    with pytest.raises(ConfigError) as error:
        RunConfig.of_options({"model": "x/y", **options})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--export-code"], "--export-code is for whole models, and --lora saves an adapter; add --export-merged"),
        (["--push-to-hub", "me/mine"], "a folder that nobody else has; add --export-merged"),
    ],
)
def test_an_adapter_that_could_not_be_loaded_is_not_made(more, message, reviews, tmp_path, capsys):
    assert run_al(command(reviews, save("bert", tmp_path), tmp_path / "run", *more)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_nothing_is_merged_without_an_adapter(reviews, tmp_path, capsys):
    assert run_al(["--dataset", str(reviews), "--export-merged", "--output-dir", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == (
        "error: --export-merged merges an adapter, and there is none without --lora RANK; leave it out\n"
    )


def test_without_peft_one_line_names_the_extra(reviews, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    assert run_al(command(reviews, save("bert", tmp_path), tmp_path / "run")) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "error: an adapter needs peft, which is not installed: pip install 'dami_text[peft]'"
    assert not (tmp_path / "run").exists()


def test_a_base_without_linear_layers(tmp_path):
    with pytest.raises(ConfigError, match=r"adapts torch's linear layers, and the ibert of --model .* has none"):
        encoder_of(save_tiny("ibert", tmp_path))
