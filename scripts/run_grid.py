"""Run a grid of simulations; see `dami_text.cli.grid`."""

import sys

from dami_text.cli.grid import run_grid

if __name__ == "__main__":
    sys.exit(run_grid())
