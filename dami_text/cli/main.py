"""The command dami-text: labelling for real, and the simulations under the same roof."""

import difflib
import sys
from collections.abc import Sequence

from dami_text.cli.parsing import run_command, show_whatever_comes
from dami_text.config.registry import find
from dami_text.escaping import printable

#: Each command, and the function that does it.
COMMANDS = {
    "label": "dami_text.cli.label:label",
    "status": "dami_text.cli.session:status",
    "review": "dami_text.cli.review:review",
    "export": "dami_text.cli.session:export",
    "import": "dami_text.cli.session:import_labels",
    "add": "dami_text.cli.session:add",
    "rename": "dami_text.cli.session:rename",
    "select": "dami_text.cli.session:select",
    "train": "dami_text.cli.session:train",
    "predict": "dami_text.cli.predict:predict",
    "simulate": "dami_text.cli.simulate:simulate",
    "run": "dami_text.cli.run:run",
    "grid": "dami_text.cli.grid:grid",
    "report": "dami_text.cli.report:report",
}

USAGE = """usage: dami-text COMMAND ...

Label texts for real:
  label FILE --labels A B   open a page to label the texts of a file, or go on where you left off
  status SESSION            how far a session is: counts, accuracy, agreement
  review SESSION            look again at labels, the most doubtful first
  export SESSION OUT        write the labels for another tool
  import SESSION FILE       add labels that were made elsewhere
  add SESSION FILE          add the texts that a file has and the session has not
  rename SESSION OLD NEW    give a class another name
  select SESSION OUT        write the next texts to label, with reasons, for another tool
  train SESSION             train the final model and write it with its card
  predict SESSION FILE OUT  the classes of a file's texts, or with --rest of those without a label
  simulate SESSION          what choosing would have saved on your labels, against random

Simulate on labelled data:
  run                       one run, from a few labels to a learning curve
  grid                      many runs: data sets, models, strategies, seeds
  report FOLDER             what each strategy saves, from finished runs

dami-text COMMAND --help says more about each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    name, *arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in COMMANDS:
        return run_command(find(COMMANDS[name]), f"dami-text {name}", arguments)
    show_whatever_comes()
    if name in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    close = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    found = printable(name)
    print(f"error: {found!r} is no command; wanted one of {', '.join(COMMANDS)}{meant}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
