"""Compare finished runs in a report with figures; see `dami_text.report_cli`."""

import sys

from dami_text.report_cli import make_report

if __name__ == "__main__":
    sys.exit(make_report())
