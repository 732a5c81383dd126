"""Run a grid of simulations; see `dami_text.grid_cli`."""

import sys

from dami_text.grid_cli import run_grid

if __name__ == "__main__":
    sys.exit(run_grid())
