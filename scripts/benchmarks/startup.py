"""How long a person waits for a command's first word: CPU seconds over those of a bare Python, medians of five.

    python scripts/benchmarks/startup.py

Commands on a session run on one of 10,000 texts with 500 labels, which is made first. The commands take turns, so that
a busy machine disturbs all of them alike. `import transformers` stands beside them.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

MAIN = "import sys; from dami_text.cli.main import main; sys.exit(main(sys.argv[1:]))"
PROGRAMS = {
    "python -c pass": ["-c", "pass"],
    "import transformers": ["-c", "import transformers"],
    "import torch": ["-c", "import torch"],
    "import dami_text": ["-c", "import dami_text"],
}
COMMANDS = [
    *([], ["labl"]),
    *(
        [name, "--help"]
        for name in ("label", "status", "review", "export", "import", "add", "rename", "select", "train")
    ),
    *([name, "--help"] for name in ("predict", "run", "grid", "report")),
    *(["status", "s.dami"], ["export", "s.dami", "labels.csv"], ["import", "s.dami", "labels.csv"]),
]


def make_session(folder: Path, n_texts: int, n_labels: int) -> None:
    """Make the session s.dami of texts, some of them with labels."""
    from dami_text.config.run import LabelingConfig, RunConfig
    from dami_text.labeling.rounds import create_session
    from dami_text.labeling.session import SessionConfig

    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["text"], *([f"text number {i} of many"] for i in range(n_texts))])
    config = SessionConfig(RunConfig.of(dataset=str(folder / "texts.csv")), LabelingConfig(labels=["no", "yes"]))
    with create_session(folder / "s.dami", config) as session:
        session.store.add_labels((row, row % 2, "ann") for row in range(n_labels))


def cpu_seconds(program: list[str], folder: Path) -> float:
    """The CPU seconds of a new Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *program], cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure all of them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of each; the median is shown (default: 5)")
    options = parser.parse_args()
    programs = PROGRAMS | {f"dami-text {' '.join(command)}".strip(): ["-c", MAIN, *command] for command in COMMANDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_session(folder, 10_000, 500)
        seconds: dict[str, list[float]] = {}
        for _ in range(options.repetitions):
            for shown, program in programs.items():
                seconds.setdefault(shown, []).append(cpu_seconds(program, folder))
    bare = median(seconds["python -c pass"])
    for shown, found in seconds.items():
        print(f"{shown:40} {median(found) - bare:6.2f}")


if __name__ == "__main__":
    main()
