"""Grids of small runs: each cell is what run_al.py writes, whatever happens on the way."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from dami_text.cli.grid import run_grid
from dami_text.cli.run import run_al
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.learning.learner import ActiveLearner
from dami_text.simulation.cells import Cell
from dami_text.simulation.grid import cells_of, share_done
from dami_text.simulation.grid_config import GridConfig
from dami_text.simulation.run import Run

OPTIONS = {
    "word_vectors": "random",
    "word_vector_dim": 8,
    "epochs": 2,
    "epoch_steps": 2,
    "initial_size": 20,
    "query_size": 8,
    "budget": 40,
}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
SCRIPT = Path(__file__).parents[2] / "scripts" / "run_grid.py"


@pytest.fixture
def folder(tmp_path, monkeypatch, reviews):
    """The working directory, which holds reviews.csv and strategies of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("reviews.csv").write_bytes(reviews.read_bytes())
    Path("mine.py").write_bytes((Path(__file__).parents[1] / "grid_strategies.py").read_bytes())
    yield tmp_path
    sys.modules.pop("mine", None)


def grid(*arguments):
    return run_grid(["--datasets=reviews.csv", "--output-dir=out", *FLAGS, *arguments])


def content(path):
    """Every file of a run's folder by its name, and the rounds without their seconds."""
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    lines = [json.loads(line) for line in found.pop("rounds.jsonl").splitlines()]
    return found, [{**line, "seconds": sorted(line["seconds"])} for line in lines]


def plain(strategy, seed=0, *arguments):
    """What run_al.py writes with the same options."""
    path = Path(f"plain-{strategy.replace(':', '-')}-{seed}")
    run = ["--dataset=reviews.csv", f"--strategy={strategy}", f"--seed={seed}", f"--output-dir={path}"]
    assert run_al([*run, *FLAGS, *arguments]) == 0
    return content(path)


def cell(strategy, seed=0):
    return Path("out/reviews.csv/cnn") / strategy / f"seed-{seed}"


# The cells --------------------------------------------------------------------------------------------------------


def test_a_cell_for_every_combination_those_that_share_most_side_by_side():
    lists = GridConfig(
        datasets=["subj", "a/mr.csv"], models=["cnn", "bilstm"], strategies=["dami", "random"], seeds="0-1"
    )
    cells = cells_of({"epochs": 7}, lists, Path("out"))
    assert [str(cell.path) for cell in cells[:5]] == [
        "out/subj/cnn/dami/seed-0",
        "out/subj/cnn/random/seed-0",
        "out/subj/bilstm/dami/seed-0",
        "out/subj/bilstm/random/seed-0",
        "out/mr.csv/cnn/dami/seed-0",
    ]
    assert len(cells) == 16
    assert cells[-1].config == RunConfig.of(dataset="a/mr.csv", model="bilstm", strategy="random", seed=1, epochs=7)
    assert [cell.number for cell in cells] == list(range(16))


def test_without_lists_there_is_one_cell():
    (only,) = cells_of({"dataset": "mr", "strategy": "mine:My.Strategy", "seed": 3}, GridConfig(), Path("out"))
    assert only.path == Path("out/mr/cnn/mine-My.Strategy/seed-3")


def test_each_cell_has_what_its_data_set_implies():
    lists = GridConfig(datasets=["telescope", "news"], strategies=["dami"])
    telescope, news = cells_of({"data_dir": "tables", "patience": 3}, lists, Path("out"))
    assert (telescope.config.data.label_column, news.config.data.label_column) == ("target", "popular")
    assert telescope.config == RunConfig.of(dataset="telescope", strategy="dami", data_dir="tables", patience=3)
    assert (news.config.model.model, news.config.training.patience) == ("mlp", 3)
    (texts,) = cells_of({}, GridConfig(datasets=["reviews.csv"]), Path("out"))
    assert (texts.config.model.model, texts.config.data.label_column) == ("cnn", "label")


def test_data_sets_of_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"a/x\.csv, cnn, dami and b/x\.csv, cnn, dami would share the folder"):
        cells_of({}, GridConfig(datasets=["a/x.csv", "b/x.csv"]), Path("out"))


@pytest.mark.parametrize(
    ("seeds", "wanted"), [("0-3", [0, 1, 2, 3]), (["0", "3", "5-7"], [0, 3, 5, 6, 7]), (4, [4]), ([2, "7-7"], [2, 7])]
)
def test_seeds(seeds, wanted):
    assert GridConfig(seeds=seeds).seed_list() == wanted


@pytest.mark.parametrize("seeds", ["3-1", "a", "-1", "0-", ["0", "0"], ["0-3", "2"], [], "1.5"])
def test_wrong_seeds(seeds):
    with pytest.raises(ConfigError, match="--seeds is"):
        GridConfig(seeds=seeds)


def test_the_shards_are_all_of_the_cells_once():
    cells = list(range(11))
    shards = [cells[GridConfig(shard=f"{i}/3").shard_slice()] for i in (1, 2, 3)]
    assert shards == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]
    for wrong in ("0/3", "4/3", "3", "1/0", "a/b"):
        with pytest.raises(ConfigError, match=r"--shard is .*; it must be I/N with I from 1 to N"):
            GridConfig(shard=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ["dami", "dami"]}, "--strategies is"),
        ({"workers": 0}, "--workers is 0"),
        ({"backend": "dask"}, "--scheduler is None; it must be the address"),
        ({"scheduler": "tcp://localhost:1"}, "--scheduler is 'tcp"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        GridConfig(**options)


# Grids ------------------------------------------------------------------------------------------------------------


def test_a_grid_writes_what_plain_runs_write_and_trains_the_first_models_once(folder, capsys, monkeypatch):
    trained = []
    train = ActiveLearner.training_jobs
    monkeypatch.setattr(ActiveLearner, "training_jobs", lambda self: trained.append(self.round) or train(self))
    assert grid("--strategies", "random", "dami", "bald", "--seeds", "0-1") == 0
    assert sorted(trained) == [0] * 2 + [1] * 6 + [2] * 6 + [3] * 6
    assert capsys.readouterr().out == "6 of 6 runs are finished in out\n"
    monkeypatch.undo()
    os.chdir(folder)
    for strategy, seed in (("dami", 1), ("bald", 0)):
        assert content(cell(strategy, seed)) == plain(strategy, seed)
    assert sorted(file.name for file in Path("out").iterdir() if file.name[0] != ".") == ["asked.jsonl", "reviews.csv"]
    assert not list(Path("out").rglob("*.pt")), "the first models are not kept"

    lines = {s: json.loads((cell(s) / "rounds.jsonl").read_text().splitlines()[0]) for s in ("random", "dami", "bald")}
    assert len({line["seconds"]["train"] for line in lines.values()}) == 1, "what it took to train it, once"
    before = {str(file): file.stat().st_mtime_ns for file in Path("out/reviews.csv").rglob("*")}
    assert grid("--strategies", "random", "dami", "bald", "--seeds", "0-1") == 0
    assert {str(file): file.stat().st_mtime_ns for file in Path("out/reviews.csv").rglob("*")} == before
    assert capsys.readouterr().out.splitlines()[-1] == "6 of 6 runs are finished in out, 6 of them before"


def test_first_models_are_apart_where_the_strategies_choose_the_first_texts(folder):
    plain("random", 7)
    trained = "--init-model=plain-random-7"
    assert grid("--strategies", "margin", "coreset", trained) == 0
    for strategy in ("margin", "coreset"):
        assert content(cell(strategy)) == plain(strategy, 0, trained)


def test_options_come_from_a_file_and_models_are_left_out_on_demand(folder):
    Path("grid.yaml").write_text("strategies: [random, margin]\nseeds: 0-1\nsave_models: false\nshard: 2/4\n")
    assert grid("--config", "grid.yaml") == 0
    assert [str(path) for path in Path("out").glob("*/*/*/*")] == [str(cell("margin"))]
    assert sorted(file.name for file in cell("margin").iterdir()) == [
        *("config.yaml", "learning_curve.png", "queries.jsonl", "rounds.jsonl")
    ]


def test_a_finished_grid_without_models_makes_them_when_it_is_asked_to(folder, capsys):
    assert grid("--strategies", "random", "--no-save-models") == 0
    assert not (cell("random") / "model").exists()
    assert grid("--strategies", "random") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 runs are finished in out"
    assert content(cell("random")) == plain("random")


def test_a_finished_grid_leaves_alone_the_first_models_that_another_one_in_the_folder_uses(folder, monkeypatch):
    train = ActiveLearner.training_jobs

    def train_while_another_grid_ends(self):
        if self.round == 0:
            monkeypatch.setattr(ActiveLearner, "training_jobs", train)
            assert grid("--strategies", "random", "--seeds", "0") == 0
        return train(self)

    assert grid("--strategies", "random", "--seeds", "0") == 0
    monkeypatch.setattr(ActiveLearner, "training_jobs", train_while_another_grid_ends)
    assert grid("--strategies", "margin", "--seeds", "1") == 0
    assert content(cell("margin", 1)) == plain("margin", 1)


def test_the_last_shard_removes_the_first_models(folder):
    for shard in ("1/2", "2/2"):
        assert grid("--strategies", "random", "margin", "--shard", shard) == 0
        assert bool(list(Path("out").rglob("*.pt"))) == (shard == "1/2")


@pytest.mark.parametrize("option", ["--push-to-hub=org/name", "--report-to=tensorboard", "--export-code", "--private"])
def test_what_a_grid_does_not_do_is_no_option_of_it(folder, capsys, option):
    assert grid("--strategies", "random", option) == 1
    assert f"error: unrecognized arguments: {option}" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_cell_that_fails_is_recorded_and_tried_again_and_the_others_go_on(folder, capsys):
    Path("fail").touch()
    assert grid("--strategies", "mine:Fails", "random", "mine:Missing") == 1
    out, error = capsys.readouterr()
    assert out == "1 of 3 runs are finished in out\n"
    assert r"failed: out/reviews.csv/cnn/mine-Fails/seed-0: ArithmeticError: no more than 20 \x1b[31m" in error
    assert "failed: out/reviews.csv/cnn/mine-Missing/seed-0: cannot make --strategy mine:Missing" in error
    recorded = (cell("mine-Fails") / "error.txt").read_text()
    assert recorded.startswith("ArithmeticError: no more than 20")
    assert "Traceback" in recorded
    assert len((cell("mine-Fails") / "rounds.jsonl").read_text().splitlines()) == 1
    Path("fail").unlink()
    assert grid("--strategies", "mine:Fails", "random") == 0
    assert content(cell("mine-Fails")) == plain("mine:Fails")


def test_a_cell_with_other_options_is_left_as_it_is(folder, capsys):
    assert grid("--strategies", "random") == 0
    before = content(cell("random"))
    assert grid("--strategies", "random", "margin", "--patience", "4") == 1
    error = capsys.readouterr().err
    assert (
        "failed: out/reviews.csv/cnn/random/seed-0: out/reviews.csv/cnn/random/seed-0 holds a run with other" in error
    )
    assert content(cell("random")) == before
    assert (cell("margin") / "rounds.jsonl").exists()


def test_a_cell_that_another_process_works_at_is_skipped_and_reported(folder, capsys):
    cell("random").mkdir(parents=True)
    with FileLock(cell("random") / ".lock"):
        assert grid("--strategies", "random", "margin") == 1
    out, error = capsys.readouterr()
    assert out == "1 of 2 runs are finished in out\n"
    assert f"busy: {cell('random')}: another process is at work in {cell('random')}" in error
    assert not (cell("random") / "error.txt").exists()
    assert grid("--strategies", "random", "margin") == 0


def test_two_plain_runs_in_one_folder_are_kept_apart(folder, capsys):
    run = Run(RunConfig.of(dataset="reviews.csv", strategy="random", **OPTIONS), Path("first"))
    rounds = run.rounds()
    next(rounds)
    arguments = ["--dataset=reviews.csv", "--strategy=random", *FLAGS, "--output-dir=first"]
    assert run_al(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: another process is at work in first; wait for its end, or choose another with --output-dir"
    )
    assert len(list(rounds)) == 3
    assert content(Path("first")) == plain("random")


def test_several_processes_are_refused(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_grid([]) == 1
    assert capsys.readouterr().err.startswith("error: run_grid.py was started several times over; start one process")


def test_the_share_done_is_that_of_the_labels(tmp_path):
    for options, share in (({"budget": 200}, 0.5), ({"budget": 0.4}, 0.25)):
        only = Cell(0, RunConfig.of(**options), tmp_path)
        (tmp_path / "rounds.jsonl").write_text('{"n_labeled": 100, "labeled_fraction": 0.1}\n{"n_lab')
        assert share_done(only) == pytest.approx(share)
    assert share_done(Cell(0, RunConfig(), tmp_path / "none")) == 0


# Processes --------------------------------------------------------------------------------------------------------


def start(*arguments):
    command = [sys.executable, str(SCRIPT), "--datasets=reviews.csv", "--output-dir=out", *FLAGS, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_worker_that_is_killed_takes_nothing_with_it(folder):
    Path("kill-1").touch()
    process = start("--strategies", "mine:Dies", "random", "--seeds", "0-1", "--workers", "2")
    out, error = process.communicate(timeout=600)
    assert (process.returncode, out) == (0, "4 of 4 runs are finished in out\n"), error
    assert "WARNING: a worker died" in error
    assert not Path("kill-1").exists()
    for strategy, seed in (("mine:Dies", 0), ("mine:Dies", 1), ("random", 1)):
        assert content(cell(strategy.replace(":", "-"), seed)) == plain(strategy, seed)


@pytest.mark.slow
def test_a_cell_that_kills_its_worker_each_time_fails_alone(folder):
    for i in range(9):
        Path(f"kill-{i}").touch()
    process = start("--strategies", "mine:Dies", "random", "--seeds", "0", "--workers", "2")
    out, error = process.communicate(timeout=600)
    assert (process.returncode, out) == (1, "1 of 2 runs are finished in out\n"), error
    assert len(list(Path().glob("kill-*"))) == 6
    assert (cell("mine-Dies") / "error.txt").read_text().startswith("its worker died 3 times")


def test_killed_with_its_workers_on_the_way_the_grid_goes_on(folder):
    process = start("--strategies", "margin", "random", "--seeds", "0-1", "--workers", "2")
    while not any(file.read_bytes() for file in Path("out").rglob("rounds.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        pipe.close()  # not read to its end: an orphaned worker may hold it open for minutes
    deadline = time.monotonic() + 60
    while (again := grid("--strategies", "margin", "random", "--seeds", "0-1")) and time.monotonic() < deadline:
        time.sleep(0.5)  # the orphaned workers end within a second
    assert again == 0
    for strategy in ("margin", "random"):
        assert content(cell(strategy, 1)) == plain(strategy, 1)


@contextlib.contextmanager
def dask_cluster(threads=1):
    """A scheduler and two workers as processes of their own on loopback; gives the scheduler's address."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5"}

    def run(what, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        with Path(f"{what}.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    file = ["--scheduler-file", "scheduler.json"]
    processes = [run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *file)]
    try:
        processes += [
            run("worker", *file, "--nthreads", str(threads), "--no-nanny", "--no-dashboard") for _ in range(2)
        ]
        deadline = time.monotonic() + 60
        while Path("worker.log").read_text().count("Registered to") < 2:
            assert time.monotonic() < deadline, Path("worker.log").read_text()
            time.sleep(0.1)
        yield json.loads(Path("scheduler.json").read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.mark.slow
def test_dask_workers_of_which_one_is_killed_on_the_way(folder):
    Path("kill-1").touch()
    with dask_cluster() as (address, workers):
        process = start(
            "--strategies", "mine:Dies", "random", "--seeds", "0-1", "--backend=dask", f"--scheduler={address}"
        )
        out, error = process.communicate(timeout=600)
        assert sorted(worker.poll() for worker in workers if worker.poll() is not None) == [-9]
    assert (process.returncode, out) == (0, "4 of 4 runs are finished in out\n"), error
    for strategy, seed in (("mine:Dies", 0), ("mine:Dies", 1), ("random", 1)):
        assert content(cell(strategy.replace(":", "-"), seed)) == plain(strategy, seed)


def test_dask_workers_of_several_threads_and_a_scheduler_that_is_not_there_are_refused(folder, capsys, monkeypatch):
    with dask_cluster(threads=2) as (address, _):
        assert grid("--backend=dask", f"--scheduler={address}") == 1
        assert "error: dask's workers have [2, 2] threads; start them with --nthreads 1" in capsys.readouterr().err
    assert grid("--backend=dask", "--scheduler=nowhere") == 1
    assert "error: no dask scheduler answers at --scheduler nowhere" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    assert grid("--backend=dask", "--scheduler=nowhere") == 1
    assert "error: --backend dask needs the extra dask: pip install 'dami_text[dask]'" in capsys.readouterr().err


def test_an_unknown_backend_is_refused(folder, capsys):
    assert grid("--backend=nothing") == 1
    assert "error: --backend is 'nothing', which joblib does not know" in capsys.readouterr().err
