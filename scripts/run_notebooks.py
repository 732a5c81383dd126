"""Run the notebooks of docs/notebooks, each in a folder of its own; an error in a cell ends it.

pip install -e ".[test,ui]"
python scripts/run_notebooks.py             # runs them
python scripts/run_notebooks.py --write     # and keeps the outputs, which the site shows

Names of notebooks after it leave the others out.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
ROOT = NOTEBOOKS.parents[1]
SECONDS = 300  # that a cell may take

#: In place of a page whose address is of one moment.
NO_PAGE = "<p><i>(the labelling page)</i></p>"


def run(file: Path) -> NotebookNode:
    """The notebook with the outputs that its cells have now; paths are within its folder."""
    notebook = nbformat.read(file, as_version=4)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a trainer may come to its end in it
        client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}})
        client.execute(env=os.environ | {"PYTHONPATH": paths})
        return nbformat.reads(nbformat.writes(notebook).replace(f"{folder}{os.sep}", ""), as_version=4)


def without_what_is_of_one_run(notebook: NotebookNode) -> NotebookNode:
    """The notebook without times, versions and the page's address, which would differ from run to run."""
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "<iframe" in data.get("text/html", ""):
                data["text/html"], data["text/plain"] = NO_PAGE, "(the labelling page)"
    return notebook


def main() -> None:
    """Run the notebooks that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as label (default: all)")
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    options = parser.parse_args()
    files = [NOTEBOOKS / f"{name}.ipynb" for name in options.names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for file in files:
        start = time.perf_counter()
        notebook = run(file)
        if options.write:
            nbformat.write(without_what_is_of_one_run(notebook), file)
        print(f"{file.stem:16} {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    main()
