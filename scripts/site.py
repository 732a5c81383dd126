"""Hooks of mkdocs: the pages of the reference that are made of the code, and files that lie outside docs/.

pip install -e ".[docs]" && mkdocs build --strict
"""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import dami_text
from dami_text.cli.main import COMMANDS
from dami_text.cli.parsing import TOPICS
from dami_text.cli.run import OutputConfig
from dami_text.config.fields import flag, inner_type
from dami_text.config.page_options import PageConfig
from dami_text.config.run import LabelingConfig
from dami_text.simulation.grid_config import GridConfig

ROOT = Path(__file__).parents[1]

#: Files outside docs/ that pages show or link to.
SHOWN = (
    "results/*.png",
    "results/*/*.png",
    "results/*/figures/*.png",
    "results/*/*/figures/*.png",
    "results/*/*/*/figures/*.png",
    "results/*/report.html",
    "results/benchmarks/*.json",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    for file in sorted(file for pattern in SHOWN for file in ROOT.glob(pattern)):
        files.append(File.generated(config, file.relative_to(ROOT).as_posix(), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to results/, which stands beside docs/ in the repository and inside it on the site."""
    return markdown.replace("](../../results/", "](../results/")


def pages() -> dict[str, str]:
    """The generated pages by their places in docs/."""
    return {
        "reference/command-line.md": command_line(),
        "reference/options.md": options(),
        "reference/python.md": python_api(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        **{f"notebooks/{file.stem}.md": notebook(file) for file in (ROOT / "docs" / "notebooks").glob("*.ipynb")},
    }


def notebook(file: Path) -> str:
    """A notebook with the outputs that it was saved with (scripts/run_notebooks.py --write)."""
    parts = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", ())]
    parts.append(f"[Download this notebook]({file.name})")
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    """What a cell has printed or shown, in the richest form that a page can have it in."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![The figure of the cell above](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        lines = "".join(data["text/html"]).splitlines()
        return f'<div class="output">{"".join(line.strip() for line in lines)}</div>'
    return f"```text\n{''.join(output.get('text', data.get('text/plain', ''))).rstrip()}\n```"


def command_line() -> str:
    """What each command says of itself."""
    parts = ["# Command line", "What `--help` says, command by command."]
    for command in ([], *([name] for name in COMMANDS)):
        program = [sys.executable, "-m", "dami_text.cli.main", *command, "--help"]
        environment = os.environ | {"COLUMNS": "100"}
        said = subprocess.run(program, capture_output=True, text=True, check=True, env=environment, cwd=ROOT).stdout
        parts += [f"## {' '.join(['dami-text', *command])}", f"```text\n{said.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def options() -> str:
    """Every option of every topic, by the metadata of its field."""
    parts = ["# Options", "The options of `run`, `grid` and `label`, by topic. In YAML files, names have underscores."]
    for topic in (*TOPICS.values(), OutputConfig, GridConfig, LabelingConfig, PageConfig):
        kinds = get_type_hints(topic)
        rows = ["| option | values | default | |", "|---|---|---|---|"]
        for field in fields(topic):
            values = _values(inner_type(kinds[field.name]))
            default = "" if field.default in (None, False) else f"`{field.default}`"
            text = field.metadata["help"].replace("|", "\\|")
            rows.append(f"| `{flag(field.name)}` | {values} | {default} | {text} |")
        title = str(topic._argument_group_name)
        parts += [f"## {title[0].upper()}{title[1:]}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _values(kind: Any) -> str:
    if choices := get_args(kind):
        return "several texts" if choices == (str,) else ", ".join(f"`{choice}`" for choice in choices)
    names = {bool: "`true`, `false`", int: "an integer", float: "a number", str: "text"}
    return names.get(kind, "a share such as 0.02, or a count such as 50")


def python_api() -> str:
    """The docstrings of the public names, the errors last."""
    parts = ["# Python", "All of these are imported from `dami_text`. [Start here](../guides/python.md)."]
    values = {name: getattr(dami_text, name) for name in dami_text.__all__}
    errors = [name for name, value in values.items() if value.__module__ == "dami_text.errors"]
    parts += [f"::: {values[name].__module__}.{name}" for name in values if name not in errors]
    parts += ["## Errors", *(f"::: dami_text.errors.{name}" for name in errors)]
    return "\n\n".join(parts) + "\n"
