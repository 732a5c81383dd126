"""What commands import: nothing that takes seconds before they need it."""

import json
import subprocess
import sys

import pytest
from labeling_cases import label_some, make_session, texts_without_labels

from dami_text.cli.main import COMMANDS

HEAVY = {"torch", "transformers", "accelerate", "sklearn", "scipy", "matplotlib", "evaluate", "gensim", "gradio"}
DATA = {"datasets", "pandas", "pyarrow", "numpy", "huggingface_hub"}

SCRIPT = """
import json, sys
{}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""

COMMAND = """
from dami_text.cli.main import main
try:
    main({!r})
except SystemExit:
    pass
"""


def imported(code):
    """The packages that a new process has imported after the code."""
    program = [sys.executable, "-c", SCRIPT.format(code)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["labl"], *([name, "--help"] for name in COMMANDS), ["status"], ["run", "--foo"]]
)
def test_help_and_mistakes_import_nothing_of_weight(arguments):
    assert imported(COMMAND.format(arguments)).isdisjoint(HEAVY | DATA)


def test_the_package_imports_nothing_of_weight_until_a_name_is_used():
    assert imported("import dami_text").isdisjoint(HEAVY | DATA)
    assert imported("import dami_text; dami_text.RunConfig.of(dataset='subj', model='org/bert')").isdisjoint(
        HEAVY | DATA
    )
    assert "torch" in imported("from dami_text import ActiveLearner")


def test_a_sessions_labels_are_read_and_written_without_torch(reviews, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, truth = texts_without_labels(reviews, tmp_path, 60)
    with make_session(file, tmp_path / "texts.dami") as session:
        label_some(session, truth, 12)
    for arguments in (
        ["status"],
        ["export", "out.csv"],
        ["import", "out.csv"],
        ["export", "out.json", "--format", "argilla"],
    ):
        name, *rest = arguments
        assert imported(COMMAND.format([name, "texts.dami", *rest])).isdisjoint(HEAVY), name
