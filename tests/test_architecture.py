"""Imports run one way only: read from the source, those inside functions too."""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dami_text

PACKAGE = Path(dami_text.__file__).parent

#: From the bottom up: a folder, or a module at the root, imports from its own level and those below it.
LEVELS = [
    {"errors", "randomness", "processes", "orphans", "environment", "files", "escaping", "progress"},
    {"config"},
    {"data"},
    {"models"},
    {"interpretation", "clustering"},
    {"strategies"},
    {"learning"},
    {"publishing"},
    {"simulation", "labeling"},
    {"cli"},
]
SIBLINGS = [{"interpretation", "clustering"}, {"simulation", "labeling"}]  # which never import each other

LONGEST_MODULE, LONGEST_FUNCTION = 400, 75  # lines

MODULES = {
    ".".join(("dami_text", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}


def imported(source, module, is_package=False):
    """The modules of dami_text that a module's source imports, as far down as they are named."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                origin = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [origin])])
            # What is imported from a package may be one of its modules.
            found.update(
                f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in MODULES else origin for alias in node.names
            )
    return {name for name in found if name.split(".")[0] == "dami_text"}


IMPORTS = {
    module: imported(file.read_text(encoding="utf-8"), module, file.name == "__init__.py")
    for module, file in MODULES.items()
}


def level(module):
    """The number of a module's level; the package itself, which imports everything, is above all."""
    room = [*module.split("."), ""][1]
    return next((number for number, rooms in enumerate(LEVELS) if room in rooms), len(LEVELS))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, dami_text.cli.parsing", {"dami_text.cli.parsing"}),
        ("from dami_text import Run", {"dami_text"}),
        ("from dami_text import errors, Run", {"dami_text.errors", "dami_text"}),
        ("from dami_text.data.pool import Pool as P", {"dami_text.data.pool"}),
        ("def f():\n    if True:\n        from dami_text.cli.parsing import table", {"dami_text.cli.parsing"}),
        ("from ..errors import DamiError", {"dami_text.errors"}),
        ("from .. import errors", {"dami_text.errors"}),
        ("from .base import Query", {"dami_text.strategies.base"}),
        ("import dami_textual\nfrom torch import nn", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, names):
    assert imported(source, "dami_text.strategies.dami") == names


def test_every_module_has_a_level():
    assert [m for m in MODULES if m != "dami_text" and level(m) == len(LEVELS)] == []


def test_no_module_imports_upward():
    upward = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if module != "dami_text" and level(name) > level(module)
    ]
    assert upward == []


def test_siblings_never_import_each_other():
    rooms = {module: [*module.split("."), ""][1] for module in MODULES}
    crossing = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        for pair in SIBLINGS
        if {rooms[module], rooms.get(name, "")} == pair
    ]
    assert crossing == []


def test_contributing_shows_the_order():
    shown = " ← ".join(" | ".join(sorted(rooms)) for rooms in LEVELS)
    text = " ".join((PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    assert shown in text


@pytest.mark.parametrize("module", MODULES)
def test_no_module_and_no_function_is_too_long(module):
    source = MODULES[module].read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_MODULE
    long = [
        (node.name, length)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_imports_go_in_a_circle():
    try:
        order = list(TopologicalSorter(IMPORTS).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))
    assert (
        order.index("dami_text.errors") < order.index("dami_text.data.pool") < order.index("dami_text.simulation.run")
    )


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("dami_text.strategies")])
def test_a_strategy_sees_neither_oracle_nor_training_nor_loop(module):
    names = {part for name in IMPORTS[module] for part in name.split(".")}
    assert names.isdisjoint({"training", "records", "learning", "simulation", "labeling", "cli"})
    tree = ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    used = {name for node in tree for name in (getattr(node, "id", None), getattr(node, "name", None)) if name}
    assert used.isdisjoint({"Oracle", "LabeledTexts", "ActiveLearner", "train"})


#: What users import first: a simulated run, a learner of their own, a session's rounds.
ENTRANCES = ["dami_text.simulation.run", "dami_text.learning.preparation", "dami_text.labeling.rounds"]


@pytest.mark.parametrize("library", ["matplotlib", "evaluate", "gensim", "gradio", "dask"])
def test_slow_and_optional_libraries_are_imported_at_use(library):
    def at_import(module, seen):
        if module not in seen and module in MODULES:
            seen.add(module)
            for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
                for name in imported_at_top(node):
                    yield name
                    yield from at_import(name, seen)

    def imported_at_top(node):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        return []

    names = {name for module in ENTRANCES for name in at_import(module, set())}
    assert "dami_text.data.pool" in names
    assert [name for name in names if name.split(".")[0] == library] == []


def test_what_is_no_module_goes_into_the_wheel():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["dami_text"]
    packed = {file for pattern in patterns for file in PACKAGE.glob(pattern)}
    assert {file for file in PACKAGE.rglob("*.*") if file.is_file() and file.suffix not in (".py", ".pyc")} == packed
