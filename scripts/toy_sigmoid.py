"""The paper's toy data: Figures 1 to 3, and what they show in numbers.

python scripts/toy_sigmoid.py --output-dir results/toy
"""

import argparse
import json
from pathlib import Path

from dami_text.simulation.toy import LARGE, SMALL, make_toy, measure
from dami_text.simulation.toy_report import draw_choices, draw_clusters, draw_data, tables


def main() -> None:
    """Draw the figures of the first seed, measure all seeds, print the tables and write toy.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output-dir", type=Path, default=Path("results/toy"), help="where the figures and toy.json go"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="the mean is over these")
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)

    first = options.seeds[0]
    large, small = make_toy(LARGE, first), make_toy(SMALL, first)
    draw_data(options.output_dir / "figure1_data.png", large)
    draw_clusters(options.output_dir / "figure2_clusters.png", large, first)
    draw_choices(options.output_dir / "figure3_choices.png", small, first)

    summary = measure(options.seeds)
    (options.output_dir / "toy.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(tables(summary, len(options.seeds)))


if __name__ == "__main__":
    main()
