"""Compare finished runs in a report with figures; see `dami_text.cli.report`."""

import sys

from dami_text.cli.report import make_report

if __name__ == "__main__":
    sys.exit(make_report())
