"""Runs side by side in one process: the records are those of runs one after another, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from dami_text.cli.grid import run_grid
from dami_text.cli.run import run_al
from dami_text.config.run import RunConfig
from dami_text.errors import TrainingError
from dami_text.learning.learner import ActiveLearner
from dami_text.models.stacked import trainings
from dami_text.simulation import grid as grid_module
from dami_text.simulation import lockstep, plots
from dami_text.simulation.cells import Job, Outcome
from dami_text.simulation.grid import GridRun, cells_of, goes_together
from dami_text.simulation.grid_config import GridConfig

OPTIONS = {
    "word_vectors": "random",
    "word_vector_dim": 8,
    "min_document_frequency": 1,
    "epochs": 3,
    "epoch_steps": 2,
    "learning_rate": 1e-2,
    "initial_size": 20,
    "query_size": 8,
    "budget": 36,
}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
SIX = ("--strategies", "margin", "random", "--seeds", "0-2")
SCRIPT = Path(__file__).parents[2] / "scripts" / "run_grid.py"
CELLS = [(strategy, seed) for seed in range(3) for strategy in ("margin", "random")]

#: Strategies of a user's own: an error, and a signal to itself, in the second round.
MINE = """
import os, signal
from pathlib import Path
from dami_text.strategies import RandomSampling

class Fails(RandomSampling):
    def query(self, model, pool, n, rng):
        if len(pool.labeled) > 20:
            raise ArithmeticError("no more than 20")
        return super().query(model, pool, n, rng)

class Dies(RandomSampling):
    def query(self, model, pool, n, rng):
        if len(pool.labeled) > 20 and Path("kill").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().query(model, pool, n, rng)
"""


@pytest.fixture(scope="module", autouse=True)
def no_curves():
    """Curves are drawn elsewhere; here they would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "plot_learning_curve", lambda path, *_, **__: path.touch())
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch, reviews):
    """The working directory, with the data and strategies of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("reviews.csv").write_bytes(reviews.read_bytes())
    Path("together.py").write_text(MINE)
    yield tmp_path
    sys.modules.pop("together", None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, reviews):
    """The records of run_al.py by strategy and seed, each run by itself."""
    root = tmp_path_factory.mktemp("plain")
    for strategy, seed in CELLS:
        own = [f"--strategy={strategy}", f"--seed={seed}", f"--output-dir={root / strategy}{seed}"]
        assert run_al([f"--dataset={reviews}", *FLAGS, *own]) == 0
    return {(strategy, seed): records(root / f"{strategy}{seed}") for strategy, seed in CELLS}


def grid(*arguments):
    return run_grid(["--datasets=reviews.csv", "--output-dir=out", "--no-save-models", *FLAGS, *arguments])


def cell(strategy, seed=0):
    return Path("out/reviews.csv/cnn") / strategy / f"seed-{seed}"


def records(path):
    """A run's rounds and queries."""
    return [
        [json.loads(line) for line in (path / name).read_text().splitlines()]
        for name in ("rounds.jsonl", "queries.jsonl")
    ]


def numbers(value):
    """Each number in a record, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for each in value for number in numbers(each)]
    return [float(value)] if isinstance(value, float) else []


def without_numbers(value):
    """A record without what rounding may change, and without seconds."""
    if isinstance(value, dict):
        return {name: without_numbers(each) for name, each in value.items() if name != "seconds"}
    if isinstance(value, list):
        return [without_numbers(each) for each in value]
    return "a number" if isinstance(value, float) else value


def assert_same(path, wanted):
    """The same rows in the same order, the same epochs and steps, and figures that are equal but for rounding."""
    found = records(path)
    assert without_numbers(found) == without_numbers(wanted)
    for name in ("metrics", "validation", "by_class"):
        for line, other in zip(found[0], wanted[0], strict=True):
            np.testing.assert_allclose(numbers(line[name]), numbers(other[name]), atol=1e-4, err_msg=name)
    np.testing.assert_allclose(numbers(found[1]), numbers(wanted[1]), atol=1e-4)


# The records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 6])
def test_runs_side_by_side_are_those_one_after_another(folder, plain, capsys, n):
    assert grid(*SIX, f"--side-by-side={n}", f"--save-models={'true' if n == 6 else 'false'}") == 0
    assert capsys.readouterr().out == "6 of 6 runs are finished in out\n"
    assert all((cell(*key) / "model").is_dir() == (n == 6) for key in CELLS)
    for strategy, seed in CELLS:
        assert_same(cell(strategy, seed), plain[strategy, seed])
    assert sorted(file.name for file in Path("out").iterdir() if file.name[0] != ".") == ["asked.jsonl", "reviews.csv"]
    assert not list(Path("out").rglob("*.pt")), "the first models are not kept"
    assert grid(*SIX, "--side-by-side=2") == 0
    assert capsys.readouterr().out == "6 of 6 runs are finished in out, 6 of them before\n"


def test_runs_that_are_under_way_take_turns_and_share_their_first_models(folder, monkeypatch):
    under_way, trained, rounds = [], [], []
    train, together = ActiveLearner.training_jobs, lockstep.trained_as_they_end

    def recording(waiting, accelerator, side_by_side):
        for job, training in together(waiting, accelerator, side_by_side):
            rounds.append(len(job.data.rows))
            yield job, training

    monkeypatch.setattr(ActiveLearner, "training_jobs", lambda self: trained.append(self.round) or train(self))
    monkeypatch.setattr(lockstep, "trained_as_they_end", recording)
    finish = lockstep._CellWork.advance

    def advance(work, answer):
        under_way.append(work.cell.path)
        return finish(work, answer)

    monkeypatch.setattr(lockstep._CellWork, "advance", advance)
    start = time.perf_counter()
    assert grid(*SIX, "--side-by-side=4") == 0
    wall = time.perf_counter() - start
    assert sorted(trained) == [0] * 3 + [1] * 6 + [2] * 6
    assert sorted(rounds) == [20] * 3 + [28] * 6 + [36] * 6
    assert len(set(under_way[:4])) == 4, "four begin before the first is trained"
    assert len(set(under_way)) == 6
    lines = {key: records(cell(*key))[0] for key in CELLS}
    for seed in range(3):
        first, second = (lines[strategy, seed][0]["seconds"]["train"] for strategy in ("margin", "random"))
        assert first == second > 0, "what it took to train it, once"
    assert sum(line["seconds"]["train"] for key in CELLS for line in lines[key][key[0] == "random" :]) < wall


def test_the_stack_has_a_slot_for_each_run_that_is_under_way(folder, monkeypatch):
    """At first three trainings are those that the others wait for; at last two runs are left, with two rounds to go."""
    sizes = []
    begin = trainings.Stack.__init__

    def recording(self, like, n_slots, *arguments, **options):
        sizes.append(n_slots)
        begin(self, like, n_slots, *arguments, **options)

    monkeypatch.setattr(trainings.Stack, "__init__", recording)
    assert grid(*SIX, "--side-by-side=6") == 0
    assert sizes == [3, 6]
    for key in CELLS[:2]:
        file = cell(*key) / "rounds.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    for key in CELLS[2:]:
        file = cell(*key) / "rounds.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    sizes.clear()
    assert grid(*SIX, "--side-by-side=6") == 0
    assert sizes == [6, 2]


def test_killed_in_the_middle_of_trainings_and_resumed_with_another_number(folder, plain):
    """The process is killed as its n-th epoch ends, when some runs have rounds and all of them are being trained."""
    script = "\n".join(
        [
            "import os, signal, sys",
            "from dami_text.cli.grid import run_grid",
            "from dami_text.models.early_stopping import EarlyStopping",
            "offer, asked = EarlyStopping.offer, []",
            "def offer_or_die(*arguments, **options):",
            "    asked.append(None)",
            "    if len(asked) > 24:",
            "        os.kill(os.getpid(), signal.SIGKILL)",
            "    return offer(*arguments, **options)",
            "EarlyStopping.offer = offer_or_die",
            "run_grid(sys.argv[1:])",
        ]
    )
    arguments = ["--datasets=reviews.csv", "--output-dir=out", *FLAGS, *SIX, "--side-by-side=6"]
    process = subprocess.run([sys.executable, "-c", script, *arguments], check=False, capture_output=True, timeout=600)
    assert process.returncode == -signal.SIGKILL, process.stderr
    before = {
        key: len(file.read_text().splitlines()) for key in CELLS if (file := cell(*key) / "rounds.jsonl").exists()
    }
    assert 1 <= max(before.values()) < 4
    kept = {key: (cell(*key) / "rounds.jsonl").read_bytes() for key in before}
    assert grid(*SIX, "--side-by-side=3") == 0
    for strategy, seed in CELLS:
        assert_same(cell(strategy, seed), plain[strategy, seed])
        now = (cell(strategy, seed) / "rounds.jsonl").read_bytes()
        assert now.startswith(kept.get((strategy, seed), b"")), "what is recorded is not done again"


def test_runs_that_have_come_to_different_rounds_go_on_together(folder, plain):
    """The records of whole runs are cut, so that the first ones have other numbers of labels than the last."""
    assert grid(*SIX) == 0
    for i, (strategy, seed) in enumerate(CELLS):
        keep, file = i % 3, cell(strategy, seed) / "rounds.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:keep]))
    assert grid(*SIX, "--side-by-side=6") == 0
    for strategy, seed in CELLS:
        assert_same(cell(strategy, seed), plain[strategy, seed])


# Errors -----------------------------------------------------------------------------------------------------------


def test_a_run_that_fails_leaves_the_others_alone(folder, plain, capsys):
    assert grid("--strategies", "together:Fails", "random", "together:Missing", "--side-by-side=3") == 1
    out, error = capsys.readouterr()
    assert out == "1 of 3 runs are finished in out\n"
    assert f"failed: {cell('together-Fails')}: ArithmeticError: no more than 20" in error
    assert f"failed: {cell('together-Missing')}: cannot make --strategy together:Missing" in error
    assert "Traceback" in (cell("together-Fails") / "error.txt").read_text()
    assert len(records(cell("together-Fails"))[0]) == 1
    assert_same(cell("random"), plain["random", 0])


@pytest.mark.parametrize("broken", [False, True])
def test_a_training_that_fails_ends_its_run_and_a_broken_stack_the_runs_in_it(
    folder, plain, capsys, monkeypatch, broken
):
    together, failed = lockstep.trained_as_they_end, []

    def failing(waiting, accelerator, side_by_side):
        for job, training in together(waiting, accelerator, side_by_side):
            if len(job.data.rows) == 28 and not failed:
                failed.append(job)
                if broken:
                    raise ArithmeticError("a card that is broken")
                yield job, TrainingError("the weights are not finite")
            else:
                yield job, training

    monkeypatch.setattr(lockstep, "trained_as_they_end", failing)
    assert grid(*SIX, "--side-by-side=3") == 1
    errors = {key: file.read_text() for key in CELLS if (file := cell(*key) / "error.txt").exists()}
    assert 1 <= len(errors) <= (3 if broken else 1)
    for error in errors.values():
        assert error.startswith("ArithmeticError: a card that is broken" if broken else "the weights are not finite")
    out, error = capsys.readouterr()
    assert out == f"{6 - len(errors)} of 6 runs are finished in out\n"
    assert error.count("failed: ") == 2 * len(errors)
    assert grid(*SIX, "--side-by-side=3") == 0
    assert not list(Path("out").rglob("error.txt"))
    for strategy, seed in CELLS:
        assert_same(cell(strategy, seed), plain[strategy, seed])


def test_an_error_that_ends_the_grid_lets_go_of_the_folders(folder, plain, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lockstep, "trained_as_they_end", interrupted)
    assert grid(*SIX, "--side-by-side=3") != 0
    monkeypatch.undo()
    os.chdir(folder)
    assert grid("--strategies", "random", "--side-by-side=3") == 0
    assert_same(cell("random"), plain["random", 0])


def test_a_run_waits_for_the_first_model_that_another_process_trains_and_the_others_go_on(folder, plain):
    assert grid("--strategies", "random", "margin", "--shard=1/2") == 0
    (first,) = Path("out/.first-rounds").glob("*.pt")
    first.unlink()
    lock = FileLock(first.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    done_before = []

    def release():
        deadline = time.monotonic() + 60
        others = [cell("margin", seed) / "learning_curve.png" for seed in (1, 2)]
        while not all(file.exists() for file in others) and time.monotonic() < deadline:
            time.sleep(0.01)
        done_before.append((all(file.exists() for file in others), (cell("margin") / "rounds.jsonl").exists()))
        lock.release()

    thread = threading.Thread(target=release)
    thread.start()
    assert grid(*SIX, "--side-by-side=6") == 0
    thread.join()
    assert done_before == [(True, False)]
    assert_same(cell("margin"), plain["margin", 0])


def test_a_folder_in_which_another_process_is_at_work_is_skipped(folder, plain, capsys):
    cell("random").mkdir(parents=True)
    with FileLock(cell("random") / ".lock"):
        assert grid("--strategies", "random", "margin", "--side-by-side=2") == 1
    out, error = capsys.readouterr()
    assert out == "1 of 2 runs are finished in out\n"
    assert f"busy: {cell('random')}: another process is at work in {cell('random')}" in error
    assert_same(cell("margin"), plain["margin", 0])


# The option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--side-by-side=0"], "--side-by-side is '0'; it must be a number of at least 1, or auto"),
        (["--side-by-side=many"], "--side-by-side is 'many'; it must be a number of at least 1, or auto"),
        (["--side-by-side=1.5"], "--side-by-side is '1.5'; it must be a number of at least 1, or auto"),
        (
            ["--side-by-side=4", "--workers=2"],
            "--side-by-side 4 trains runs together in one process, and --workers is 2; leave one of them out",
        ),
        (
            ["--side-by-side=4", "--backend=threading"],
            "--side-by-side 4 trains runs together in one process, and --backend is threading; leave one of them out",
        ),
        (
            ["--side-by-side=4", "--model=linear", "--strategy=margin"],
            "--side-by-side 4 is for cnn and bilstm without --mixed-precision, --gradient-accumulation-steps and "
            "--distributed-training; --model is linear; leave it out, or use --workers",
        ),
        (
            ["--side-by-side=4", "--gradient-accumulation-steps=2"],
            "--side-by-side 4 is for cnn and bilstm without --mixed-precision, --gradient-accumulation-steps and "
            "--distributed-training; --model is cnn; leave it out, or use --workers",
        ),
    ],
)
def test_what_cannot_go_side_by_side_is_refused(tmp_path, capsys, arguments, message):
    assert run_grid([f"--output-dir={tmp_path / 'out'}", *arguments]) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "out").exists()


def test_without_a_number_runs_go_side_by_side_on_a_card_only(monkeypatch):
    cnn, linear, on_cpu = (
        RunConfig.of(**options) for options in ({}, {"model": "linear", "strategy": "margin"}, {"device": "cpu"})
    )
    for card in (False, True):
        monkeypatch.setattr(grid_module.torch.cuda, "is_available", lambda card=card: card)
        assert goes_together(cnn, GridConfig()) == card
        assert not goes_together(cnn, GridConfig(workers=2))
        assert not goes_together(cnn, GridConfig(side_by_side=1))
        assert not goes_together(linear, GridConfig())
        assert not goes_together(RunConfig.of(mixed_precision="bf16"), GridConfig())
        assert not goes_together(on_cpu, GridConfig())
        for config in (cnn, on_cpu):
            assert goes_together(config, GridConfig(side_by_side="4"))


def test_models_that_cannot_be_trained_together_run_as_without_the_option(tmp_path, monkeypatch):
    together, alone = [], []

    class Recording(lockstep.Lockstep):
        def outcomes(self):
            for cells in self._groups.values():
                together.append([cell.path.relative_to(tmp_path).as_posix() for cell in cells])
                yield from (Outcome(cell, "finished") for cell in cells)

    def run_cell(cell, job):
        alone.append(cell.path.relative_to(tmp_path).as_posix())
        return Outcome(cell, "finished")

    monkeypatch.setattr(grid_module, "Lockstep", Recording)
    monkeypatch.setattr(grid_module, "run_cell", run_cell)
    lists = {"models": ["linear", "bilstm", "cnn"], "strategies": ["margin", "random"], "seeds": "0-1"}
    options = GridConfig(datasets=["subj", "mr"], side_by_side=4, **lists)
    cells = cells_of({}, options, tmp_path)
    run = GridRun(cells, Job(root=tmp_path, working_directory=tmp_path, process=0), options)
    assert {outcome.cell.path for outcome in run.outcomes()} == {cell.path for cell in cells}
    assert run.left == []
    assert len(alone) == 8
    assert all("/linear/" in path for path in alone)
    assert together == [
        [f"{dataset}/{model}/{strategy}/seed-{seed}" for seed in (0, 1) for strategy in ("margin", "random")]
        for dataset in ("subj", "mr")
        for model in ("bilstm", "cnn")
    ]
