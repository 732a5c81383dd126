"""What the docs have to name, and that what they show runs."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dami_text
from dami_text.cli.main import COMMANDS
from dami_text.config.metrics import METRICS
from dami_text.config.registry import MODELS, STRATEGIES
from dami_text.config.run import RunConfig
from dami_text.labeling.exchange.formats import READABLE

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
README = ROOT / "README.md"
LONGEST_README = 150  # lines


def blocks(page, *languages):
    """The contents of a page's fenced blocks in these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, content) for language, content in found if language in languages]


def test_the_readme_is_short_and_begins_with_the_two_commands():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README
    (_, first), *_ = re.findall(r"^```(\w*)\n(.*?)^```", "\n".join(lines), re.MULTILINE | re.DOTALL)
    assert [line.partition("&& ")[2].split()[0] for line in first.splitlines()] == ["accelerate", "pytest"]


@pytest.mark.parametrize(
    "names", [COMMANDS, MODELS, STRATEGIES, METRICS, READABLE], ids=lambda names: next(iter(names))
)
def test_every_name_is_in_the_docs(names):
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*PAGES, README])
    assert [name for name in names if not re.search(rf"(`|dami-text |--model ){re.escape(name)}\b", text)] == []


@pytest.fixture(scope="module")
def site():
    """What makes the site's pages."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts" / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_have_every_command_and_option(site):
    pages = site.pages()
    assert [name for name in COMMANDS if f"## dami-text {name}\n" not in pages["reference/command-line.md"]] == []
    shown = re.findall(r"^::: dami_text\.[\w.]+\.(\w+)$", pages["reference/python.md"], re.MULTILINE)
    assert sorted(shown) == dami_text.__all__
    options = ["--" + name.replace("_", "-") for name in RunConfig().options()]
    assert [name for name in options if f"| `{name}` |" not in pages["reference/options.md"]] == []


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links_and_pictures_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for alt, target in re.findall(r"(?<=\[)((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)#\s]+)[^)]*\)", text):
        assert alt.strip(), f"{target} has no words"
        if not target.startswith("http"):
            place = page.parent / target
            assert place.exists() or place.with_suffix(".ipynb").exists(), target


def test_what_pages_show_of_results_is_on_the_site(site):
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    targets = [Path(target) for target in re.findall(r"\]\(\.\./\.\./(results/[^)#\s]+)", text)]
    assert targets
    assert [target for target in targets if not any(map(target.match, site.SHOWN))] == []


def imports_of(code):
    """Whatever of dami_text an example imports that is not in its public namespace."""
    found = re.findall(r"(?:from|import) (dami_text[\w.]*)(?: import (.*))?", code)
    names = [(module, name.strip()) for module, listed in found for name in listed.strip("()").split(",")]
    return [
        (module, name)
        for module, name in names
        if (module, name) != ("dami_text.models.auto", "")
        and (module != "dami_text" or (name and name not in dami_text.__all__))
    ]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_examples_use_public_names_alone(page):
    for _, content in blocks(page, "python", "text"):
        assert imports_of(content) == []


def test_examples_in_docstrings_use_public_names_alone():
    for name in dami_text.__all__:
        examples = re.findall(r"^\s*>>> (.*)", getattr(dami_text, name).__doc__, re.MULTILINE)
        assert imports_of("\n".join(examples)) == [], name
        assert not re.search(r"(?<!_)\b_[a-z]|\._[a-z]", "\n".join(examples)), name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as a reader would have it: the scripts, and two files of reviews."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    labels = [("negative", "positive")[i % 2] for i in range(40)] + [""] * 40
    lines = [f"a {('dull', 'lively')[i % 2]} film number {i},{label}" for i, label in enumerate(labels)]
    Path("reviews.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    Path("more.csv").write_text("text\nwhat a lively plot\nso dull\n", encoding="utf-8")
    binaries = Path(sys.executable).parent
    path = os.pathsep.join(filter(None, [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
    return tmp_path, environment


def run(language, content, folder, environment):
    """Run a block; a page that is served is stopped once it is there."""
    if language == "python":
        named = re.match(r"# (\w+\.py)\n", content)  # which later blocks import
        script = folder / (named[1] if named else "snippet.py")
        script.write_text(content, encoding="utf-8")
        subprocess.run([sys.executable, str(script)], env=environment, check=True, capture_output=True, timeout=300)
        return
    for line in content.replace("\\\n", " ").splitlines():
        if line.startswith("dami-text label"):
            serve_and_stop(line, environment)
        elif line.strip():
            ended = subprocess.run(
                line, shell=True, env=environment, capture_output=True, text=True, timeout=600, check=False
            )
            assert ended.returncode == 0, f"{line}\n{ended.stderr[-2000:]}"


def serve_and_stop(line, environment):
    log = Path("label.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(line.split(), env=environment, stdout=stream, stderr=stream)
    end = time.monotonic() + 180
    while "page  " not in log.read_text(encoding="utf-8"):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGINT if shutil.which("kill") else signal.SIGTERM)
    process.wait(60)


RUNNING = [page for page in [README, *PAGES] if blocks(page, "sh", "python")]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, folder):
    pytest.importorskip("gradio")
    if page.stem in ("import-export",):  # which goes on where the first labels were given
        for language, content in blocks(ROOT / "docs" / "start" / "label.md", "sh")[:1]:
            run(language, content, *folder)
    for language, content in blocks(page, "sh", "python"):
        run(language, content, *folder)
