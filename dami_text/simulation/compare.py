"""Strategies compared on one data set, in a script or a notebook: a grid of runs, and what they say together."""

import base64
import html
import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from dami_text.config.run import RunConfig
from dami_text.data.hub import progress_bars_hidden
from dami_text.errors import ConfigError, DataTypeError, RecordError, arguments_named
from dami_text.escaping import visible
from dami_text.files import whole_file
from dami_text.learning.bars import bar_kind
from dami_text.learning.inputs import is_frame
from dami_text.simulation.cells import Job, Outcome, forget_first_rounds
from dami_text.simulation.grid import GridRun, cells_of, record_asked
from dami_text.simulation.grid_config import GridConfig
from dami_text.simulation.grid_progress import grid_bar, unfinished
from dami_text.simulation.report import measured, sentences, title_of, write_report
from dami_text.simulation.results import Comparison, read_runs
from dami_text.simulation.results import compare as compare_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BASELINE = "random"


@dataclass(frozen=True, repr=False)
class StrategyComparison:
    """How good strategies are on a data set, by number of labels.

    Examples:
        >>> import pandas as pd
        >>> from tempfile import TemporaryDirectory
        >>> from dami_text import compare
        >>> texts = [f"a {word} film {i}" for i in range(30) for word in ("dull", "lively")]
        >>> data = pd.DataFrame({"text": texts, "label": ["neg", "pos"] * 30})
        >>> sizes = {"initial_size": 4, "query_size": 4, "budget": 8}
        >>> with TemporaryDirectory() as folder:
        ...     found = compare(data, ["random"], seeds=1, model="linear", output_dir=folder, quiet=True, **sizes)
        >>> found.to_pandas()["n_labeled"].tolist()
        [4, 8]
        >>> found.sentences[0]
        'The curve counts labels in all.'

    Attributes:
        comparison: the learning curves, and what is missing or differs.
        metric: what was measured on the test split.
        baseline: the strategy that others are compared with.
        folder: where the runs are.
        failed: the runs that failed, and why.
    """

    comparison: Comparison
    metric: str
    baseline: str
    folder: Path
    failed: Sequence[str]

    @property
    def sentences(self) -> list[str]:
        """What the report says: each strategy's mean over its curve, its difference to the baseline, what it saves."""
        return sentences(self.comparison, measured("test", self.metric), self.baseline)

    def to_pandas(self) -> "pd.DataFrame":
        """A line for each strategy, seed and round: strategy, seed, n_labeled, share, and the metric by its name."""
        import pandas as pd

        lines = [
            (curve.strategy, seed, int(n), float(share), float(score))
            for curve in self.comparison.curves
            for seed, scores in zip(curve.seeds, curve.scores, strict=True)
            for n, share, score in zip(curve.n_labeled, curve.share, scores, strict=True)
        ]
        return pd.DataFrame(lines, columns=["strategy", "seed", "n_labeled", "share", self.metric])

    def plot(self) -> "Figure":
        """The mean of each strategy's learning curve, with 95% intervals."""
        from dami_text.simulation.plots import curves_figure

        return curves_figure(self.comparison.curves, title_of(self.comparison), measured("test", self.metric))

    def write_report(self, folder: Path | str | None = None) -> Path:
        """Write the report with all tables and figures, beside the runs by default; the path of report.html."""
        place = self.folder if folder is None else Path(folder)
        write_report([self.comparison], place, "test", self.metric, self.baseline, failed=self.failed)
        return place / "report.html"

    def __str__(self) -> str:
        return "\n".join([*self.sentences, *(f"failed: {line}" for line in self.failed)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        picture = io.BytesIO()
        self.plot().savefig(picture, dpi=100, format="png")
        shown = f'<img src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}">'
        return "".join(f"<p>{html.escape(visible(line))}</p>" for line in str(self).splitlines()) + shown


def compare(
    dataset: Any,
    strategies: Sequence[str] = (BASELINE, "dami", "margin"),
    seeds: int | Sequence[int] = 5,
    *,
    output_dir: Path | str = "runs/grid",
    workers: int = 1,
    quiet: bool = False,
    **options: Any,
) -> StrategyComparison:
    """Simulate strategies on labelled data, some seeds each, and compare their learning curves.

    The runs are those of `dami-text grid`: the same call goes on where an earlier one was stopped, and `dami-text
    report` reads them.

    Examples:
        >>> import pandas as pd
        >>> from tempfile import TemporaryDirectory
        >>> texts = [f"a {word} film {i}" for i in range(40) for word in ("dull", "lively")]
        >>> data = pd.DataFrame({"text": texts, "label": ["neg", "pos"] * 40})
        >>> sizes = {"initial_size": 4, "query_size": 4, "budget": 12}
        >>> with TemporaryDirectory() as folder:
        ...     found = compare(
        ...         data, ["random", "margin"], seeds=2, model="linear", output_dir=folder, quiet=True, **sizes
        ...     )
        >>> found.to_pandas().groupby("strategy").size().to_dict()
        {'margin': 6, 'random': 6}

    Args:
        dataset: a name, path or Hub id as `--dataset` takes it; or a data frame or Dataset with the columns text and
            label, or those that `text_column` and `label_column` name.
        strategies: their names; differences are to "random" or, without it, to the first.
        seeds: how many, from 0, or which.
        output_dir: the folder of the runs.
        workers: runs side by side, in processes of one thread each.
        quiet: show no progress bar.
        **options: any other option of a run, such as `model="linear"` or `budget=500`.

    Raises:
        ConfigError: an option that is unknown or cannot work.
        RecordError: no run came to its end.
    """
    root = Path(output_dir)
    chosen = range(seeds) if isinstance(seeds, int) else seeds
    names = [strategies] if isinstance(strategies, str) else list(strategies)
    with arguments_named(), _process_restored():
        grid = GridConfig(strategies=names, seeds=[str(seed) for seed in chosen], workers=workers, save_models=False)
        given = {**options, "dataset": _place_of(dataset, root)}
        if twice := {"strategy", "seed"} & options.keys():
            raise ConfigError(f"--{min(twice)} is one of several here; give strategies and seeds")
        metric = RunConfig.of_options(given).training.metric
        cells = cells_of(given, grid, root)
        left, problems = unfinished(cells, save_models=False)
        record_asked(cells, root)
        job = Job(root=root.absolute(), working_directory=Path.cwd(), process=os.getpid(), save_models=False)
        _run_all(GridRun(left, job, grid), len(cells), problems, quiet)
        failed = [f"{outcome.cell.path}: {outcome.message}" for outcome in problems]
        if len(problems) == len(cells):
            raise RecordError(f"no run came to its end; the first: {failed[0]}")
        if not problems:
            forget_first_rounds(root)
        own = {str(cell.path) for cell in cells}
        (comparison, *_) = compare_runs([run for run in read_runs([root]) if run.name in own], "test", metric)
    return StrategyComparison(comparison, metric, BASELINE if BASELINE in names else names[0], root, failed)


def _run_all(run: GridRun, total: int, problems: list[Outcome], quiet: bool) -> None:
    """Run the cells that are left, with a bar; those that do not come to their end are added to the problems."""
    with grid_bar(run, total, problems, bar_kind(), off=quiet):
        problems += [outcome for outcome in run.outcomes() if outcome.status != "finished"]


def _place_of(dataset: Any, root: Path) -> str:
    """The name or path of the data; what is in memory is written beside the runs, by its content."""
    if isinstance(dataset, str | Path):
        return str(dataset)
    if is_frame(dataset):
        dataset = Dataset.from_pandas(dataset, preserve_index=False)
    if not isinstance(dataset, Dataset):
        raise DataTypeError(f"dataset is {dataset!r:.60}; it must be a name, a path, a data frame or a Dataset")
    content = io.BytesIO()
    dataset.to_parquet(content)
    file = root / "data" / f"data-{sha256(content.getvalue()).hexdigest()[:12]}.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished_file:
            unfinished_file.write_bytes(content.getvalue())
    return str(file)


@contextmanager
def _process_restored() -> Iterator[None]:
    """No progress bars of libraries inside the block; and what runs change of this process is as before after it."""
    logger, threads = logging.getLogger("dami_text"), torch.get_num_threads()
    level = logger.level
    try:
        with progress_bars_hidden():
            yield
    finally:
        torch.set_num_threads(threads)
        logger.setLevel(level)
