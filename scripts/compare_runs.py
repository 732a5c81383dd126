"""Compare finished runs: mean learning curves over seeds with 95% intervals, as a table and a figure.

python scripts/compare_runs.py runs/subj-* --figure curves.png
"""

import argparse
import sys
from pathlib import Path

from dami_text.errors import DamiError
from dami_text.experiments.comparison import curves_table, read_curves
from dami_text.experiments.plots import plot_curves


def main() -> int:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs on one data set with one model")
    parser.add_argument("--figure", type=Path, help="where to draw the curves (.png or .svg)")
    options = parser.parse_args()
    try:
        curves = read_curves(options.runs)
        groups = sorted({(Path(curve.dataset).name, curve.model) for curve in curves})
        if len(groups) > 1:
            raise DamiError(f"these runs are of {groups}; give runs of one data set and one model")
    except DamiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (dataset, model), seeds = groups[0], len(curves[0].seeds)
    print(curves_table(curves))
    if options.figure:
        plot_curves(options.figure, curves, f"{dataset}, {model}, mean of {seeds} seeds and 95% interval")
    return 0


if __name__ == "__main__":
    sys.exit(main())
