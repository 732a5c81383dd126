"""Model cards: complete, read back by the Hub's own parser, and safe whatever the names in them are."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from dami_text.config.run import RunConfig
from dami_text.escaping import markdown
from dami_text.publishing import cards
from dami_text.publishing.cards import AnnotatorLabels, CardFacts, hub_id, model_card, public_name, run_facts

REPOSITORY = Path(__file__).parents[2]
SIZES = {"train": 200, "validation": 30, "test": 60}


def summary(class_names=("neg", "pos"), commit=None, needs_dami_text=False, extra=None, **options):
    more = {extra: 0.5} if extra else {}
    rounds = [
        {
            "n_labeled": n,
            "labeled_fraction": n / 200,
            "metrics": {"accuracy": a, "macro_f1": a - 0.01, "micro_f1": a, "roc_auc": a + 0.01, **more},
            "class_counts": dict.fromkeys(class_names, n // 2),
        }
        for n, a in ((10, 0.6), (20, 0.75), (30, 0.8125))
    ]
    return run_facts(RunConfig.of(**options), rounds, SIZES, commit, needs_dami_text=needs_dami_text)


def peoples(class_names=("neg", "pos"), measured=True, **options):
    """The facts of a session with 60 labels of 400 texts, after rounds on 20 and 40."""
    config = RunConfig.of(**{"dataset": "reviews.csv", **options})
    accuracies = [{"accuracy": 0.6}, {"accuracy": 0.75}] if measured else [{}, {}]
    told = "81.2% (95% interval 57.0% to 93.4%, 16 texts)" if measured else None
    labels = AnnotatorLabels(
        n_before=5,
        n_trained_on=44,
        n_held_out=16,
        by_annotator=[40, 20],
        agreements=["Cohen's kappa 0.40, 70% equal, 20 texts"],
        accuracy=told,
    )
    return CardFacts(
        config=config,
        options={**config.options(), "overlap": 2},
        n_texts=400,
        n_labeled=30 * len(class_names),
        class_counts=dict.fromkeys(class_names, 30),
        rounds=[*zip((20, 40), accuracies, strict=True)],
        metrics={"accuracy": 0.8125} if measured else {},
        curve_metric="accuracy",
        commit=None,
        labels=labels,
    )


def test_the_metadata_goes_through_the_hubs_own_parser_and_back(tmp_path):
    card = model_card(summary(dataset="subj"))
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == card.data.to_dict()
    assert again.data.pipeline_tag == "text-classification"
    assert again.data.library_name == "transformers"
    assert again.data.datasets == ["SetFit/subj"]
    assert again.data.model_name == "subj-cnn-dami"
    assert {(r.metric_type, r.metric_name): r.metric_value for r in again.data.eval_results} == {
        ("accuracy", "Accuracy"): 0.8125,
        ("f1", "Macro F1"): 0.8025,
        ("f1", "Micro F1"): 0.8125,
        ("roc_auc", "ROC AUC"): 0.8225,
    }
    assert {(r.task_type, r.dataset_type, r.dataset_split) for r in again.data.eval_results} == {
        ("text-classification", "SetFit/subj", None)
    }, "the split was drawn from all of the data set's, and is none of them"
    (result, *_) = model_card(summary(dataset="subj", splits="keep")).data.eval_results
    assert result.dataset_split == "test"


@pytest.mark.parametrize(
    ("metric", "kind", "name"),
    [
        ("f1", "f1", "F1 of pos"),
        ("precision:neg", "precision", "Precision of neg"),
        ("matthews_correlation", "matthews_correlation", "Matthews' correlation"),
        ("average_precision", "average_precision", "Average precision"),
        ("average_precision:neg", "average_precision", "Average precision of neg"),
        ("acme/my_metric", "acme/my_metric", "my_metric"),
    ],
)
def test_the_metric_that_was_asked_for_has_its_hub_type_and_its_class(metric, kind, name):
    card = model_card(summary(extra=metric, metric=metric))
    assert [(r.metric_type, r.metric_name) for r in card.data.eval_results][-1] == (kind, name)
    assert f"| labels beside 30 validation labels | share | {markdown(name)} |" in card.text
    assert f"| {markdown(name)} | 0.5000 |" in card.text


def test_the_card_says_what_the_run_was():
    options = {"dataset": "subj", "metric": "macro_f1", "seed": 7, "strategy": "margin"}
    text = model_card(summary(needs_dami_text=True, **options)).text
    for part in (
        "30 of 200 texts of the training set (15.0%), 10 of them at the start",
        "asked for in 2 queries",
        "30 for validation, 60 for test",
        "neg 15, pos 15",
        "These are labels beside 30 validation labels.",
        "| labels beside 30 validation labels | share | Macro F1 |",
        "| 20 | 10.0% | 0.7400 |",
        "| Accuracy | 0.8125 |",
        "| `--seed` | 7 |",
        "| `--strategy` | margin |",
        "import dami_text.models.auto",
        f"transformers {version('transformers')}",
        "## Intended use and limits",
        "@article{liu2020dami",
        "@inproceedings{liu2021alden",
    ):
        assert part in text, part
    assert "on the test split: 60 texts drawn at random, with seed 7,\nfrom all splits" in text
    assert "on the test split:\n" in model_card(summary(dataset="subj", splits="keep")).text
    encoder = model_card(summary(model="acme/tiny", commit="c0ffee"))
    assert "import dami_text" not in encoder.text
    assert "commit c0ffee" in encoder.text
    assert encoder.data.base_model == "acme/tiny"


def test_the_card_of_a_model_that_people_labelled_for(tmp_path):
    card = model_card(peoples())
    for part in (
        "60 of 400 texts (15.0%), given by people: 20 of them before there was a",
        "with 2 models asking in turn. The texts came with 5 of them.",
        "- **Split**: 44 of the labels trained this model, 16 were held out to measure it.\n",
        "- **Data set**: reviews.csv; 400 texts to choose from.\n",
        "- **Annotators**: 2, who labelled 40, 20 texts.\n",
        "- **Agreement**: Cohen's kappa 0.40, 70% equal, 20 texts.\n",
        "- **Labels of each class**: neg 30, pos 30.\n",
        "by this model: an accuracy of 81.2% (95% interval 57.0% to 93.4%, 16 texts).\n\n| metric | value |\n",
        "| Accuracy | 0.8125 |\n",
        "measured on the same held-out texts.\n\n| labelled | share | Accuracy |\n|---|---|---|\n",
        "| 20 | 5.0% | 0.6000 |\n",
        "| 40 | 10.0% | 0.7500 |\n",
        "| `--overlap` | 2 |",
        "before anybody was asked, and are in no training",
        f"transformers {version('transformers')}",
        "@inproceedings{liu2021alden",
    ):
        assert part in card.text, part
    assert "\n\n\n" not in card.text
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == card.data.to_dict()
    (result,) = again.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.8125)
    assert (result.dataset_type, result.dataset_split) == ("reviews.csv", "held-out")


def test_a_model_that_was_not_measured_has_no_result(tmp_path):
    card = model_card(peoples(measured=False))
    assert "Not measured: no held-out text has a label." in card.text
    assert "## Learning curve" not in card.text
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.eval_results is None
    assert again.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags"}


HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![](http://evil.example/x.png)",
    "a | b\n| c",
    "\n---\nlicense: mit\n---\n# Title",
    "{{ config }}{% for %}",
    "`code` **bold** _it_ @user #1 www.evil.example https://evil.example",
    "\x1b[2J\u202e\x00",
]


@pytest.mark.parametrize("facts", [summary, peoples])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_nothing_else(name, facts, tmp_path):
    plain, hostile = model_card(facts(("neg", "pos"))), model_card(facts((name, "pos")))
    hostile.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == plain.data.to_dict()
    assert len(again.text.splitlines()) == len(plain.text.splitlines())
    new = "".join(line for line in again.text.splitlines() if line not in plain.text.splitlines())
    new = new.replace("[dami_text](https://arxiv.org/abs/2007.12100)", "")
    for mark in ("<", "[", "](", "|", "{", "`", "_", "@", "://", "www.", "\x1b", "\u202e", "\x00"):
        assert mark not in new.replace("**Labels of each class**", ""), mark


def test_a_data_sets_hostile_name_in_the_metadata(tmp_path):
    folder = tmp_path / 'x: "y"\n---\nlicense: mit'
    folder.mkdir()
    card = model_card(summary(dataset=str(folder)))
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.license is None
    assert again.data.eval_results[0].dataset_name == 'x: "y" --- license: mit'


def test_local_folders_are_nobodys_business(tmp_path):
    file = tmp_path / "secret" / "reviews.csv"
    file.parent.mkdir()
    file.touch()
    card = model_card(summary(dataset=str(file), model=str(tmp_path), init_model=str(tmp_path / "gone")))
    assert "reviews.csv" in str(card)
    assert "secret" not in str(card)
    assert str(tmp_path) not in str(card)
    assert card.data.datasets is card.data.base_model is None
    table = model_card(summary(dataset="telescope", data_dir=str(tmp_path / "secret" / "tables")))
    assert "secret" not in str(table)


def test_the_card_of_a_table_says_how_its_rows_are_read():
    card = model_card(summary(dataset="telescope", data_dir="tables", model="mlp"))
    assert (card.data.pipeline_tag, card.data.library_name) == ("tabular-classification", "dami_text")
    assert {result.task_type for result in card.data.eval_results} == {"tabular-classification"}
    assert "A classifier of a table's rows (mlp)" in card.text
    assert "pipeline(" not in card.text
    assert "load_transformer(folder)" in card.text


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mr", "cornell-movie-review-data/rotten_tomatoes"), ("acme/x", "acme/x"), ("demo", None), ("/no/such", None)],
)
def test_hub_ids(name, wanted):
    assert hub_id(name) == wanted


def test_names_that_need_no_escape_stand_as_they_are():
    assert markdown("sci-fi, 1.5 stars") == "sci-fi, 1.5 stars"
    assert public_name("acme/x") == "acme/x"
    assert markdown("größe") == "größe"


def test_the_template_stands_among_the_cards():
    assert (REPOSITORY / "model_cards" / "template.md").read_text() == cards.TEMPLATE.read_text()


@pytest.mark.parametrize("file", sorted((REPOSITORY / "model_cards").glob("*-*.md")), ids=lambda file: file.stem)
def test_the_cards_of_real_runs(file):
    card = ModelCard.load(file)
    assert {result.metric_name for result in card.data.eval_results} == {"Accuracy", "Macro F1", "Micro F1", "ROC AUC"}
    assert "{{" not in card.content
    assert "## Learning curve" in card.text


def test_long_texts_are_told_and_what_a_pipeline_makes_of_them():
    told = "3 of 400 texts are longer than 256 pieces of words (the longest has 900)"
    cut = model_card(replace(peoples(model="org/bert"), long_texts=f"{told} and were cut")).text
    assert f"- **Long texts**: {told} and were cut.\n\n## Use" in cut
    read = replace(peoples(model="org/bert", long_texts="windows"), long_texts=f"{told} and are read in windows")
    assert "read in windows. `dami-text predict` reads others in the same way, and\n  `pipeline` does not" in (
        model_card(read).text
    )
    assert "Long texts" not in model_card(peoples()).text
