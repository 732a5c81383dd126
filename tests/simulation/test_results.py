"""Reading hand-made records, of which everything is known."""

import gzip
import itertools
import json
from pathlib import Path

import pytest
import yaml

from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, RecordError
from dami_text.simulation.cells import Cell
from dami_text.simulation.grid import record_asked
from dami_text.simulation.results import compare, failures, read_runs, spans, write_archive


def write_run(root, strategy="random", seed=0, scores=(0.5, 0.6, 0.7), finished=True, name=None, **options):
    """A run's folder with a round of 20 more labels of 200 for each score."""
    folder = root / (name or f"{strategy}-{seed}".replace(":", "-").replace("/", "-"))
    folder.mkdir(parents=True)
    options = {"dataset": "a/reviews.csv", "strategy": strategy, "seed": seed, **options}
    recorded = RunConfig.of(**{k: v for k, v in options.items() if k != "strategy"}).options() | {"strategy": strategy}
    (folder / "config.yaml").write_text(yaml.safe_dump(recorded))
    lines = []
    for r, score in enumerate(scores):
        last = finished and r == len(scores) - 1
        line = {
            "round": r,
            "n_labeled": 20 * (r + 1),
            "labeled_fraction": 0.1 * (r + 1),
            "metrics": {"accuracy": score, "macro_f1": score / 2},
            "validation": {"accuracy": score + 0.1},
            "seconds": {"train": 2.0 + seed, "evaluate": 0.1, "query": 0.0 if last else 1.0},
            "query": None if last else {},
        }
        lines.append(json.dumps(line) + "\n")
    (folder / "rounds.jsonl").write_text("".join(lines))
    return folder


def test_curves_are_read_by_data_set_model_and_strategy(tmp_path):
    for seed in (1, 0):
        write_run(tmp_path, "random", seed, (0.5, 0.6 + seed / 10, 0.7))
        write_run(tmp_path, "dami", seed, (0.5, 0.8, 0.9))
    write_run(tmp_path, "dami", 0, name="other", model="bilstm")
    found = compare(read_runs([tmp_path]))
    assert [(c.dataset, c.model, [curve.strategy for curve in c.curves]) for c in found] == [
        ("reviews.csv", "cnn", ["dami", "random"]),
        ("reviews.csv", "bilstm", ["dami"]),
    ]
    random = found[0].curves[1]
    assert random.seeds == (0, 1)
    assert random.n_labeled.tolist() == [20, 40, 60]
    assert random.share.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert random.scores.tolist() == [[0.5, 0.6, 0.7], [0.5, 0.7, 0.7]]
    assert random.seconds["train"].tolist() == [[2, 2, 2], [3, 3, 3]]
    assert random.seconds["query"].tolist() == [[1, 1, 0], [1, 1, 0]]
    assert found[0].notes == []


def test_scores_of_the_validation_split_and_other_metrics(tmp_path):
    write_run(tmp_path)
    runs = read_runs([tmp_path])
    assert compare(runs, "validation")[0].curves[0].scores.tolist() == [pytest.approx([0.6, 0.7, 0.8])]
    assert compare(runs, "test", "macro_f1")[0].curves[0].scores.tolist() == [pytest.approx([0.25, 0.3, 0.35])]
    with pytest.raises(ConfigError, match="has no macro_f1 on the validation split; it has accuracy"):
        compare(runs, "validation", "macro_f1")


def test_what_is_missing_is_named_and_nothing_is_averaged_over_unequal_seeds(tmp_path):
    for seed in range(5):
        write_run(tmp_path, "random", seed, (0.5, seed / 10, 0.7))
    write_run(tmp_path, "dami", 1)
    write_run(tmp_path, "dami", 3)
    write_run(tmp_path, "dami", 2, finished=False)
    write_run(tmp_path, "badge", 0, finished=False)
    (found,) = compare(read_runs([tmp_path]))
    assert {curve.strategy: curve.seeds for curve in found.curves} == {"random": (1, 3), "dami": (1, 3)}
    assert found.notes == [
        "badge has not finished seeds 0-4.",
        "dami has not finished seeds 0, 2, 4.",
        "All that follows is of seeds 1, 3, which all strategies shown have finished.",
    ]
    (found,) = compare([run for run in read_runs([tmp_path]) if run.seed in (0, 2)])
    assert [curve.strategy for curve in found.curves] == ["random"]
    write_run(tmp_path / "more", "margin", 7)
    (found,) = compare([run for run in read_runs([tmp_path]) if run.options["strategy"] in ("dami", "margin")])
    assert (found.curves, found.notes[-1]) == ([], "No seed is finished by all strategies: nothing is compared.")


def test_variants_of_a_strategy_are_told_apart_and_other_differences_noted(tmp_path):
    write_run(tmp_path, "random", epochs=25)
    write_run(tmp_path, "dami", epochs=30)
    write_run(tmp_path, "dami", epochs=30, interpretation_target="logit", name="logit")
    (found,) = compare(read_runs([tmp_path]))
    assert [curve.strategy for curve in found.curves] == [
        "dami",
        "dami (interpretation-target logit)",
        "random",
    ]
    write_archive(tmp_path / "archive" / "records.jsonl.gz", read_runs([tmp_path]))
    assert [curve.strategy for curve in compare(read_runs([tmp_path / "archive"]))[0].curves] == [
        curve.strategy for curve in found.curves
    ]
    assert found.notes == [
        "The runs differ in --epochs: 30 for dami, 30 for dami (interpretation-target logit), 25 for random."
    ]


def test_an_option_that_a_file_lacks_is_at_its_default(tmp_path):
    write_run(tmp_path, "dami", 0)
    old = write_run(tmp_path, "dami", 1) / "config.yaml"
    old.write_text(yaml.safe_dump({k: v for k, v in yaml.safe_load(old.read_text()).items() if k != "patience"}))
    (found,) = compare(read_runs([tmp_path]))
    assert [(curve.strategy, curve.seeds) for curve in found.curves] == [("dami", (0, 1))]


def test_what_cannot_be_compared_is_refused(tmp_path):
    write_run(tmp_path, "random", 0)
    write_run(tmp_path, "random", 0, (0.5, 0.6, 0.8), name="again")
    with pytest.raises(RecordError, match=r"are both random on reviews\.csv, cnn, seed 0; give each once"):
        compare(read_runs([tmp_path]))
    write_run(tmp_path / "b", "random", 0)
    write_run(tmp_path / "b", "dami", 0, (0.5, 0.6))
    with pytest.raises(RecordError, match=r"the rounds of dami have \[20, 40\] labels and those of random"):
        compare(read_runs([tmp_path / "b"]))
    write_run(tmp_path / "c", "dami", 0)
    write_run(tmp_path / "c", "dami", 1, (0.5, 0.6))
    with pytest.raises(RecordError, match=r"rounds of \[20, 40, 60\] labels and .* of \[20, 40\]; compare"):
        compare(read_runs([tmp_path / "c"]))


def test_a_folder_without_runs_and_damaged_records_are_refused(tmp_path):
    with pytest.raises(RecordError, match="holds no run; wanted folders with"):
        read_runs([tmp_path])
    folder = write_run(tmp_path)
    (folder / "rounds.jsonl").write_text("{half\n")
    with pytest.raises(RecordError, match="holds no run that can be read"):
        read_runs([tmp_path])
    (tmp_path / "records.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(RecordError, match=r"records\.jsonl\.gz holds no run that can be read"):
        read_runs([tmp_path / "records.jsonl.gz"])


def test_an_archive_says_what_the_folders_say_in_the_same_bytes(tmp_path):
    for strategy in ("random", "dami"):
        for seed in range(3):
            write_run(tmp_path / "runs", strategy, seed, (0.5, 0.6 + seed / 100, 0.7))
    runs = read_runs([tmp_path / "runs"])
    files = [tmp_path / "a" / "records.jsonl.gz", tmp_path / "b" / "records.jsonl.gz"]
    for file in files:
        write_archive(file, runs)
    assert files[0].read_bytes() == files[1].read_bytes()
    for path in (files[0], tmp_path / "b"):
        again = read_runs([path])
        assert [(run.seed, run.rounds) for run in again] == [(run.seed, run.rounds) for run in runs]
        for first, second in zip(compare(runs)[0].curves, compare(again)[0].curves, strict=True):
            assert (first.strategy, first.seeds, first.scores.tolist()) == (
                second.strategy,
                second.seeds,
                second.scores.tolist(),
            )
    write_archive(tmp_path / "runs" / "records.jsonl.gz", runs[:4])
    assert read_runs([tmp_path / "runs"]) == runs, "what is there twice counts once"
    with gzip.open(files[0], "rt") as stream:
        first = json.loads(stream.readline())
    assert (first["name"], first["options"]["dataset"]) == ("reviews.csv/cnn/dami/seed-0", "reviews.csv")


def test_an_archive_leaves_out_what_stopping_criteria_saw(tmp_path):
    file = write_run(tmp_path / "runs", "random", 0) / "rounds.jsonl"
    criteria = {"change:0": {"value": 0.2, "stops": False}}
    saw = {"criteria": criteria, "predictions": "eJxjYGBgAAAABAAB", "hits": None, "n_hits": 0}
    lines = [json.loads(line) | {"stopping": saw} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = read_runs([tmp_path / "runs"])
    write_archive(tmp_path / "a" / "records.jsonl.gz", runs)
    (again,) = read_runs([tmp_path / "a"])
    assert [line["stopping"] for line in again.rounds] == [{"criteria": criteria}] * len(lines)
    assert read_runs([tmp_path / "runs", tmp_path / "a"]) == runs, "what is there twice counts once"


def test_a_runs_folder_counts_before_the_archive_that_was_made_of_it(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "random", seed)
    runs = read_runs([tmp_path])
    write_archive(tmp_path / "records.jsonl.gz", runs)
    (tmp_path / "random-0" / "rounds.jsonl").unlink()
    (tmp_path / "random-1" / "rounds.jsonl").unlink()
    write_run(tmp_path, "random", 0, (0.5, 0.6, 0.9), name="made-again")
    found = {run.seed: [line["metrics"]["accuracy"] for line in run.rounds] for run in read_runs([tmp_path])}
    assert found == {0: [0.5, 0.6, 0.9], 1: [0.5, 0.6, 0.7]}


def test_runs_that_differ_in_their_seconds_alone_count_once(tmp_path):
    folders = [write_run(tmp_path / name, "random", 0) for name in "ab"]
    file = folders[1] / "rounds.jsonl"
    file.write_text(file.read_text().replace('"train": 2.0', '"train": 9.5'))
    assert [run.name for run in read_runs([tmp_path / "a", tmp_path / "b"])] == [str(folders[0])]


def test_runs_that_were_asked_for_and_have_not_begun_are_named_also_from_the_archive(tmp_path):
    cells = [
        Cell(i, RunConfig.of(dataset="a/reviews.csv", strategy=strategy, seed=seed), tmp_path / f"{strategy}-{seed}")
        for i, (strategy, seed) in enumerate(itertools.product(("random", "margin"), range(4)))
    ]
    record_asked(cells[:6], tmp_path)
    record_asked(cells, tmp_path)
    for seed in (0, 1):
        write_run(tmp_path, "random", seed)
        write_run(tmp_path, "margin", seed, finished=seed == 0)
    write_archive(tmp_path / "elsewhere" / "records.jsonl.gz", read_runs([tmp_path]))
    for path in (tmp_path, tmp_path / "elsewhere"):
        (found,) = compare(read_runs([path]))
        assert {curve.strategy: curve.seeds for curve in found.curves} == {"random": (0,), "margin": (0,)}
        assert sorted(found.notes) == [
            "All that follows is of seed 0, which all strategies shown have finished.",
            "margin has not finished seeds 1-3.",
            "random has not finished seeds 2-3.",
        ]
    with gzip.open(tmp_path / "elsewhere" / "records.jsonl.gz", "rt") as stream:
        assert str(tmp_path) not in stream.read(), "a folder of this machine"


def test_failed_runs_are_named(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "error.txt").write_text(f"no {name}\n\nTraceback ...")
    assert failures([tmp_path, Path("records.jsonl.gz")]) == [f"{tmp_path}/a: no a", f"{tmp_path}/b: no b"]


@pytest.mark.parametrize(
    ("seeds", "text"), [([0, 1, 2, 3, 4], "0-4"), ([0, 2, 3, 7], "0, 2-3, 7"), ([5], "5"), ([], "")]
)
def test_seeds_in_writing(seeds, text):
    assert spans(seeds) == text
