"""One process, and two: the lower half of this file is the program that torchrun starts twice, once for all tests."""

import json
import os
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest
import torch

from dami_text import processes
from dami_text.cli.run import run_al
from dami_text.errors import ConfigError, DamiError, RecordError
from dami_text.processes import ALONE, Processes, make_accelerator
from dami_text.simulation.records import RunFolder

SCRIPT = Path(__file__).parents[1] / "scripts" / "run_al.py"
OPTIONS = shlex.split(
    "--word-vectors=random --word-vector-dim=8 --epochs=4 --epoch-steps=4 --train-batch-size=10 --patience=4"
)
SMALL = [*OPTIONS, "--initial-size=21", "--query-size=8", "--budget=40", "--epochs=3"]
LARGE = [*OPTIONS, "--initial-size=0.5", "--query-size=10", "--budget=0.55", "--epochs=10", "--distributed-training"]


def read_lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


# One process ------------------------------------------------------------------------------------------------------


def test_a_single_process_has_everything_to_itself():
    assert Processes.all() == ALONE == Processes(0, 1)
    assert ALONE.share([3, 1, 2]) == [3, 1, 2]
    assert ALONE.on_main(lambda: "made") == "made"
    assert ALONE.main_first(lambda: "made") == "made"
    with pytest.raises(RecordError, match="no room"):
        ALONE.on_main(fail)


def test_a_single_process_gathers_items_as_they_are_made():
    made = []

    def items():
        for i in range(3):
            made.append(i)
            yield i

    gathered = iter(ALONE.gather(items()))
    assert (next(gathered), made) == (0, [0])
    assert list(gathered) == [1, 2]


@pytest.mark.parametrize(("index", "share"), [(0, [0, 3, 6]), (1, [1, 4]), (2, [2, 5])])
def test_the_processes_shares_are_every_count_th_item(index, share):
    assert Processes(index, 3).share(list(range(7))) == share
    np.testing.assert_array_equal(Processes(index, 3).share(np.arange(7)), share)


@pytest.fixture
def machine(monkeypatch):
    """A machine that has a GPU of a kind, and on which this process has not begun yet, or on a device."""

    class State:
        _shared_state: ClassVar[dict[str, torch.device]] = {}

    def make(kind, begun=None):
        has = kind != "cpu"
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: has)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind) if has else None)
        State._shared_state = {} if begun is None else {"device": torch.device(begun)}
        monkeypatch.setattr(processes, "PartialState", State)
        monkeypatch.setattr(processes, "_chosen", [])

    return make


@pytest.mark.parametrize(
    ("kind", "wanted", "small", "cpu"),
    [
        ("cpu", "auto", True, True),
        ("mps", "auto", True, True),
        ("mps", "auto", False, False),
        ("mps", "mps", True, False),
        ("cuda", "auto", True, False),
        ("cuda", "cpu", False, True),
        ("cuda", "cuda", False, False),
    ],
)
def test_what_computes(machine, kind, wanted, small, cpu):
    machine(kind)
    processes.use_device(wanted, small)
    assert processes._cpu_only() == cpu


def test_a_device_that_is_not_there_or_comes_too_late(machine):
    machine("cpu")
    with pytest.raises(ConfigError, match=r"^--device is cuda, and this machine has cpu; give auto or cpu$"):
        processes.use_device("cuda", True)
    machine("mps", begun="cpu")
    processes.use_device("auto", False)
    with pytest.raises(
        ConfigError, match="--device is mps, and this process computes on cpu to its end; start another"
    ):
        processes.use_device("mps", False)
    processes.use_device("cpu", False)


# Two processes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(reviews, tmp_path_factory):
    """The folder in which two processes have left what they found, and how their launch ended."""
    path = tmp_path_factory.mktemp("two")
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__]
    start = time.monotonic()
    ended = subprocess.run(
        [*program, str(reviews), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return path, ended, time.monotonic() - start


@pytest.fixture(scope="module")
def found(two):
    """What the first and the second process found."""
    path, ended, _ = two
    files = [path / f"found{index}.json" for index in range(2)]
    assert all(file.exists() for file in files), ended.stderr
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def one(reviews, tmp_path_factory):
    """The folder of the same run in one process."""
    path = tmp_path_factory.mktemp("one") / "run"
    assert run_al([f"--dataset={reviews}", f"--output-dir={path}", *SMALL]) == 0
    return path


@pytest.mark.parametrize("after", [0.0, 8.0])
def test_workers_end_with_the_torchrun_that_is_killed(reviews, tmp_path, after):
    """While they import, and while they work: they would wait for each other for a month."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(SCRIPT)]
    options = [f"--dataset={reviews}", f"--output-dir={tmp_path / 'run'}", "--epochs=1000", "--patience=1000"]
    with (tmp_path / "log").open("w") as log:
        launch = subprocess.Popen([*program, *options], env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=log)
    workers = []
    until = time.monotonic() + 120
    while len(workers) < 2 and time.monotonic() < until:
        workers = psutil.Process(launch.pid).children()
        time.sleep(0.05)
    assert len(workers) == 2
    time.sleep(0.2 + after)
    launch.kill()
    launch.wait()
    gone, left = psutil.wait_procs(workers, timeout=60)
    for process in left:
        process.kill()
    assert (len(gone), left) == (2, [])


def test_torchrun_gives_two_processes_that_know_of_each_other(found):
    assert [process["accelerator"] for process in found] == [[0, 2], [1, 2]]
    assert [process["processes"] for process in found] == [[0, 2], [1, 2]]


def test_gather_restores_the_order_on_both(found):
    assert [process["shares"] for process in found] == [[[0, 2, 4, 6], [0, 2], [0], []], [[1, 3, 5], [1], [], []]]
    tens = [[10 * i for i in range(n)] for n in (7, 3, 1, 0)]
    assert [process["gathered"] for process in found] == [tens, tens]


def test_on_main_runs_there_alone_and_all_have_the_result(found):
    assert [process["on_main"] for process in found] == ["made by 0", "made by 0"]
    assert [process["main_first"] for process in found] == ["made by 0", "made by 1"]
    assert found[0]["made_at"] < found[1]["made_at"]


def test_an_error_on_main_is_raised_on_both(found):
    assert [process["error"] for process in found] == ["RecordError: no room"] * 2


def test_the_weights_of_main_are_copied(found):
    assert [process["weights"] for process in found] == [[[0.0, 0.0], 5]] * 2


def test_two_processes_query_the_same_rows_and_end_with_the_same_weights(two, one, found):
    path = two[0] / "small"
    assert [process["small"] for process in found] == [0, 0]
    assert (path / "queries.jsonl").read_bytes() == (one / "queries.jsonl").read_bytes()
    assert (path / "model" / "model.safetensors").read_bytes() == (one / "model" / "model.safetensors").read_bytes()
    without_seconds = [[{**line, "seconds": None} for line in read_lines(p / "rounds.jsonl")] for p in (path, one)]
    assert without_seconds[0] == without_seconds[1]
    assert len(without_seconds[0]) == 4


def test_two_processes_make_a_deleted_model_again(found):
    assert [process["model_made_again"] for process in found] == [[0, True], [0, True]]


def test_training_on_two_processes_learns(two, found):
    rounds = read_lines(two[0] / "large" / "rounds.jsonl")
    assert [process["large"] for process in found] == [0, 0]
    assert [line["n_labeled"] for line in rounds] == [105, 115, 116]
    assert all(line["metrics"]["accuracy"] >= 0.9 for line in rounds)
    assert rounds[0]["steps"] % 11 == 0, "105 texts are 11 batches of at most 10, each shared by both processes"


def test_an_error_on_main_ends_both_with_one_line(two, found):
    _, ended, seconds = two
    assert [process["failed"] for process in found] == [1, 1]
    assert [line for line in ended.stderr.splitlines() if line.startswith("error:")] == ["error: no room"]
    assert "Traceback" not in ended.stderr
    assert ended.stdout.count("labelled   share  accuracy  macro F1") == 3, "one table a run, not a process"
    assert ended.returncode == 0
    assert seconds < 240


# The program of the two processes ---------------------------------------------------------------------------------


def fail():
    raise RecordError("no room")


def run_script(*arguments):
    sys.argv = [str(SCRIPT), *arguments]
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        return end.code


def work_as_one_of_two(data, path):
    small = [f"--dataset={data}", f"--output-dir={path / 'small'}", *SMALL]
    found = {"small": run_script(*small)}

    processes = Processes.all()
    accelerator = make_accelerator()
    found["accelerator"] = [accelerator.process_index, accelerator.num_processes]
    found["processes"] = [processes.index, processes.count]

    shares = [processes.share(list(range(n))) for n in (7, 3, 1, 0)]
    found["shares"] = shares
    found["gathered"] = [list(processes.gather(10 * i for i in share)) for share in shares]

    found["on_main"] = processes.on_main(lambda: f"made by {processes.index}")
    found["main_first"], found["made_at"] = processes.main_first(
        lambda: (f"made by {processes.index}", time.monotonic())
    )
    try:
        processes.on_main(fail)
    except DamiError as error:
        found["error"] = f"{type(error).__name__}: {error}"

    model = torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(model.weight, processes.index)
    model.num_batches_tracked += 5 + processes.index
    processes.broadcast(model.state_dict().values())
    found["weights"] = [model.weight.tolist(), int(model.num_batches_tracked)]

    weights = path / "small" / "model" / "model.safetensors"
    before = processes.on_main(weights.read_bytes)
    processes.on_main(lambda: [file.unlink() for file in weights.parent.iterdir()] and weights.parent.rmdir())
    code = run_script(*small)
    found["model_made_again"] = [code, weights.read_bytes() == before]

    found["large"] = run_script(f"--dataset={data}", f"--output-dir={path / 'large'}", *LARGE)

    if processes.index == 0:
        RunFolder.commit = lambda self, *lines: fail()
    found["failed"] = run_script(f"--dataset={data}", f"--output-dir={path / 'failed'}", *SMALL)
    (path / f"found{processes.index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    work_as_one_of_two(Path(sys.argv[1]), Path(sys.argv[2]))
