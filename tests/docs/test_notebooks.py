"""The notebooks run, show what they were saved with, and use public names alone."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from test_docs import imports_of

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MISSING = [name for name in ("gradio", "nbclient", "ipykernel") if importlib.util.find_spec(name) is None]

each = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def script(name):
    """A module of scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells_of(file):
    return json.loads(file.read_text(encoding="utf-8"))["cells"]


@each
def test_a_notebook_uses_public_names_and_was_saved_with_its_outputs(file):
    cells = cells_of(file)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert imports_of("\n".join("".join(cell["source"]) for cell in code)) == []
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert [output for output in outputs if output.get("name") == "stderr"] == [], "no library has anything to say"
    assert not re.search(r"/tmp/|/home/|127\.0\.0\.1", json.dumps(outputs)), "what is of one run or machine"


@each
def test_the_site_has_a_notebook_with_its_outputs(file):
    pytest.importorskip("mkdocs")
    site = script("site")
    page = site.pages()[f"notebooks/{file.stem}.md"] if file == NOTEBOOKS[0] else site.notebook(file)
    for cell in cells_of(file):
        assert "".join(cell["source"]) in page
        for output in cell.get("outputs", ()):
            if output["output_type"] == "stream":
                assert "".join(output["text"]).rstrip() in page
    assert page.count('<div class="output">') == sum(
        "text/html" in output.get("data", {}) for cell in cells_of(file) for output in cell.get("outputs", ())
    )


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"no {', no '.join(MISSING)}")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of the client of kernels
@each
def test_a_notebook_runs(file):
    script("run_notebooks").run(file)
