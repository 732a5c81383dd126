"""Simulate active learning on a labelled data set; see `dami_text.cli.run`."""

import sys

from dami_text.cli.run import run_al

if __name__ == "__main__":
    sys.exit(run_al())
