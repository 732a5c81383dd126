"""The rules that every strategy keeps, on every model and number of classes or labels, and strategies of one's own."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_texts, small_model
from datasets import Dataset
from encoder_cases import tiny_model
from strategy_cases import CLASSES, KINDS, ODD_TEXTS, odd_pool, pool_of, reasons_by_row, tokenizer_of

from dami_text.config.kinds import kind_of
from dami_text.config.options import ModelConfig, StrategyConfig
from dami_text.config.registry import LABEL_STRATEGIES, STRATEGIES
from dami_text.data.batches import Batch
from dami_text.data.pool import Pool
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError, QueryError
from dami_text.models.inference import predict_features
from dami_text.models.word_level import MULTILABEL
from dami_text.randomness import torch_stream
from dami_text.strategies import (
    Badge,
    Bald,
    Cal,
    ClusterMargin,
    Coreset,
    Dami,
    DamiKCenter,
    DamiMargin,
    DropQuery,
    Egl,
    EglWord,
    ExpectedErrors,
    KMeansFeatures,
    Positives,
    ProbCover,
    Query,
    Representation,
    TypiClust,
    Uncertainty,
    build_strategy,
    check_query,
    highest,
)

OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"strategy": name} for name in STRATEGIES},
    "egl head": {"strategy": "egl", "egl_parameters": "head"},
    "dami logit": {"strategy": "dami", "interpretation_target": "logit"},
    "dami all": {"strategy": "dami", "interpretation_class": "all"},
    "dami cosine": {"strategy": "dami", "distance": "cosine"},
    "dami norm": {"strategy": "dami", "informative_word": "norm"},
    "dami random word": {"strategy": "dami", "informative_word": "random"},
    "dami park-jun": {"strategy": "dami", "clustering": "park-jun"},
    "own": {"strategy": "strategy_cases:Longest"},
}

CHANCE = {
    *("random", "badge", "cluster-margin", "kmeans-features", "typiclust", "probcover", "dropquery", "expected-errors"),
    *(name for name in OPTIONS if name.startswith("dami") and name != "dami-kcenter"),
}
WITHOUT_MODEL = {"random", "own"}
#: Those that compare with labels that were told, of which a text has any number.
WITH_LABELS = {name: {"strategy": name} for name in LABEL_STRATEGIES}
#: What each strategy's reasons say of a text whatever was chosen before it.
OF_ONE_TEXT = ("score", "gradient_norm", "deviation", "word")

#: Of kind "labels" is a CNN for so many labels, of which a text has any number.
LABELS = [("labels", n_labels) for n_labels in (1, 3, 20)]
MODELS = [*((kind, n_classes) for kind in KINDS for n_classes in CLASSES), ("bert", 2), ("bert", 3), *LABELS]
EVERYWHERE = [(name, kind, n_classes) for name in OPTIONS for kind, n_classes in MODELS]
EVERYWHERE += [(name, kind, n_labels) for name in WITH_LABELS for kind, n_labels in LABELS]
on_all = pytest.mark.parametrize(("name", "kind", "n_classes"), EVERYWHERE)
#: An encoder's dropout draws from torch's generator, a batch at a time: so BALD's scores depend on the batches.
on_all_but_noise_of_batches = pytest.mark.parametrize(
    ("name", "kind", "n_classes"), [case for case in EVERYWHERE if case[:2] != ("bald", "bert")]
)


def ask(name: str, model: Any, pool: Pool, n: int, seed: int = 0, batch_size: int = 64) -> Query:
    """A query that has been checked."""
    strategy = build_strategy(StrategyConfig(inference_batch_size=batch_size, **{**OPTIONS, **WITH_LABELS}[name]))
    if name in WITH_LABELS:
        told = (pool.texts.keys(pool.labeled)[:, None] >> np.arange(model.config.num_labels, dtype=np.uint64)) & 1
        pool = Pool(pool.texts, pool.labeled, told.astype(np.int64))
    query = strategy.query(model, pool, n, np.random.default_rng(seed))
    check_query(query, pool, n)
    assert query.rows.dtype == np.int64
    numbers = [value for reason in query.reasons for value in reason.values() if isinstance(value, int | float)]
    assert np.isfinite(numbers).all()
    return query


def assert_same(found: Query, expected: Query) -> None:
    """The same rows for the same reasons, up to rounding."""
    assert found.rows.tolist() == expected.rows.tolist()
    for name in expected.reasons[0]:
        assert_close([reason[name] for reason in found.reasons], [reason[name] for reason in expected.reasons])


def assert_close(found: list[Any], expected: list[Any]) -> None:
    """Equal words, and numbers that are equal up to rounding."""
    if isinstance(expected[0], float):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        assert found == expected


def model_of(kind: str, pool: Pool, n_classes: int) -> Any:
    size = len(pool.texts.tokenizer)
    if kind == "labels":
        return small_model("cnn", size, n_classes, problem_type=MULTILABEL)
    return tiny_model("bert", n_classes) if kind == "bert" else small_model(kind, size, n_classes)


@on_all
def test_distinct_unlabelled_rows_the_same_for_the_same_seed(name, kind, n_classes):
    pool = odd_pool(kind=kind)
    model = model_of(kind, pool, n_classes)
    assert len(ask(name, model, pool, 1).rows) == 1
    assert sorted(ask(name, model, pool, len(pool.unlabeled)).rows.tolist()) == pool.unlabeled.tolist()
    query, again = (ask(name, model, pool, 9, seed=3) for _ in range(2))
    assert query.rows.tolist() == again.rows.tolist()
    assert query.reasons == again.reasons
    assert query.details == again.details
    if name in {"random", "badge"}:
        assert len({tuple(ask(name, model, pool, 9, seed).rows.tolist()) for seed in range(5)}) > 1


@on_all_but_noise_of_batches
def test_permuting_the_pool_permutes_everything(name, kind, n_classes):
    pool = odd_pool(kind=kind)
    model = model_of(kind, pool, n_classes)
    order = np.random.default_rng(1).permutation(len(pool))  # row i of the permuted pool is row order[i] of the first
    labeled = np.flatnonzero(np.isin(order, pool.labeled))
    permuted = pool_of([pool.texts.text(row) for row in order], labeled, kind)
    n = len(pool.unlabeled)
    first, second = ask(name, model, pool, n), ask(name, model, permuted, n)
    for what in set(OF_ONE_TEXT) & first.reasons[0].keys():
        expected, found = reasons_by_row(first, what), reasons_by_row(second, what)
        rows = sorted(found)
        assert_close([found[row] for row in rows], [expected[int(order[row])] for row in rows])
    if name not in CHANCE:
        chosen, among = ask(name, model, pool, 9).rows.tolist(), ask(name, model, permuted, 9).rows
        if name == "own":  # many texts are as long
            chosen, among = pool.texts.lengths[chosen].tolist(), order[among]
            assert pool.texts.lengths[among].tolist() == chosen
        else:
            assert order[among].tolist() == chosen


@pytest.mark.parametrize(("kind", "n_classes"), MODELS)
def test_permuting_the_pool_permutes_the_representations(kind, n_classes):
    pool = odd_pool(kind=kind)
    model = model_of(kind, pool, n_classes)
    order = np.random.default_rng(1).permutation(len(pool))
    permuted = pool_of([pool.texts.text(row) for row in order], kind=kind)
    everything = Pool(pool.texts)
    features = predict_features(model, pool.texts, everything.unlabeled, 8)
    found = predict_features(model, permuted.texts, permuted.unlabeled, 8)
    np.testing.assert_allclose(found, features[order], atol=1e-5)
    for representation in (Representation(batch_size=8), Representation("logit", "all", batch_size=8)):
        expected = representation.of_unlabeled(model, everything, np.random.default_rng(0))
        moved = representation.of_unlabeled(model, permuted, np.random.default_rng(0))
        np.testing.assert_allclose(moved.representations, expected.representations[order], atol=1e-5)
        np.testing.assert_allclose(moved.deviations, expected.deviations[order], atol=1e-5)
        np.testing.assert_allclose(moved.mean, expected.mean, atol=1e-6)


@on_all_but_noise_of_batches
def test_padding_and_batches_change_nothing(name, kind, n_classes, monkeypatch):
    """In double precision: where two choices are as good (the medoids of a pair), rounding would decide."""
    pool = odd_pool(repetitive=False, kind=kind)
    model = model_of(kind, pool, n_classes).double()
    expected = ask(name, model, pool, 9)
    for batch_size in (1, 7):
        assert_same(ask(name, model, pool, 9, batch_size=batch_size), expected)
    collate = EncodedTexts.collate

    def wider(texts: EncodedTexts, rows: np.ndarray) -> Batch:
        batch = collate(texts, rows)
        extra, padding = 3 + len(rows) % 5, texts.tokenizer.pad_token_id
        ids = torch.nn.functional.pad(batch.input_ids, (0, extra), value=padding)
        words = None if batch.word_ids is None else torch.nn.functional.pad(batch.word_ids, (0, extra), value=-1)
        return Batch(ids, torch.nn.functional.pad(batch.attention_mask, (0, extra)), words)

    monkeypatch.setattr(EncodedTexts, "collate", wider)
    assert_same(ask(name, model, pool, 9, batch_size=20), expected)


def state_of(model: torch.nn.Module) -> list[Any]:
    """All that a strategy must leave alone, and the state of the global generators."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    parameters = [
        (p.requires_grad, p.tolist(), None if p.grad is None else p.grad.tolist(), p.data_ptr())
        for p in model.parameters()
    ]
    return [
        [module.training for module in model.modules()],
        [[list(getattr(module, hook)) for hook in hooks] for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        parameters,
        torch.is_grad_enabled(),
        torch.random.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - it is what must not change
    ]


@on_all
def test_the_model_is_left_as_it_was_also_after_an_exception(name, kind, n_classes, monkeypatch):
    pool = odd_pool(kind=kind)
    model = model_of(kind, pool, n_classes).train()
    model.dropout.eval()
    model.get_input_embeddings().requires_grad_(False)
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: None)
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    before = state_of(model)
    ask(name, model, pool, 5, batch_size=8)
    assert state_of(model) == before

    calls, forward = [], type(model).forward

    def failing(*inputs: Any, **named: Any) -> Any:
        calls.append(inputs)
        if len(calls) == 3:
            raise ArithmeticError("no third batch")
        return forward(*inputs, **named)

    monkeypatch.setattr(type(model), "forward", failing)
    if name in WITHOUT_MODEL:
        ask(name, model, pool, 5, batch_size=8)
    else:
        with pytest.raises(ArithmeticError, match="no third batch"):
            ask(name, model, pool, 5, batch_size=8)
    assert state_of(model) == before
    monkeypatch.undo()
    assert_same(ask(name, model, pool, 5, batch_size=8), ask(name, model.eval(), pool, 5, batch_size=8))


class Secret(Dataset):
    """A data set whose rows and columns raise, once it is closed, as long as the labels are among them."""

    closed = False

    def _refuse(self) -> None:
        if self.closed and "label" in self._data.column_names:
            raise PermissionError("a strategy touched the labels")

    @property
    def data(self):
        self._refuse()
        return super().data

    def _getitem(self, *arguments, **options):
        self._refuse()
        return super()._getitem(*arguments, **options)


@pytest.mark.parametrize("kind", [*KINDS, "bert"])
@pytest.mark.parametrize("name", OPTIONS)
def test_labels_are_out_of_reach(name, kind):
    texts = [*ODD_TEXTS, *make_texts(20)]
    plain = Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(len(texts))]})
    tokenizer = tokenizer_of(kind)
    encoded = encode(plain, tokenizer)
    secret = Secret(encoded.data, fingerprint="secret")
    secret.closed = True
    for touch in (lambda: secret["label"][:], lambda: secret[0], lambda: list(secret), lambda: secret.data):
        with pytest.raises(PermissionError):
            touch()
    pool = Pool(EncodedTexts(secret, tokenizer), [3, 4])
    model = model_of(kind, pool, 2)
    assert_same(ask(name, model, pool, 9), ask(name, model, Pool(EncodedTexts(encoded, tokenizer), [3, 4]), 9))


def without_gradients(model: Any) -> None:
    model.classifier.weight.data.zero_()


def sure_of_one_class(model: Any) -> None:
    model.classifier.bias.data[0] += 1000


ODD_CASES = {
    "identical texts": (["w1 w2 w3 w2"] * 14, lambda model: None),
    "texts without words": ([""] * 14, lambda model: None),
    "unknown words": (["zzz", "zzz yyy", ""] * 5, lambda model: None),
    "some texts without words": (["", "", *make_texts(6), "", *make_texts(4, 1), ""], lambda model: None),
    "no gradients": ([*ODD_TEXTS, *make_texts(8)], without_gradients),
    "one class everywhere": ([*ODD_TEXTS, *make_texts(8)], sure_of_one_class),
    "one class and identical texts": (["w1 w2 w3 w2"] * 14, sure_of_one_class),
}


@on_all
def test_odd_pools(name, kind, n_classes):
    for texts, change in ODD_CASES.values():
        pool = pool_of(texts, [1, len(texts) - 2], kind)
        model = model_of(kind, pool, n_classes)
        change(model)
        assert len(ask(name, model, pool, 4).rows) == 4
        assert sorted(ask(name, model, pool, len(pool.unlabeled)).rows.tolist()) == pool.unlabeled.tolist()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_pool_without_any_label(name):
    pool = Pool(odd_pool().texts)
    query = ask(name, model_of("cnn", pool, 3), pool, 9)
    assert len(query.rows) == 9


IN_PROCESSES = """
import json, sys
sys.path[:0] = {tests!r}
from accelerate import Accelerator
from strategy_cases import odd_pool
from test_strategy_battery import OPTIONS, ask, paper_sized
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == {processes}, accelerator.num_processes
pool = odd_pool(50)
found = {{}}
for kind, n_classes in (("cnn", 2), ("bilstm", 3)):
    model = paper_sized(kind, pool, n_classes)
    for name in OPTIONS:
        query = ask(name, model, pool, 9)
        found[f"{{name}}, {{kind}}"] = [query.rows.tolist(), [dict(reason) for reason in query.reasons]]
with open(f"{{sys.argv[1]}}-{{accelerator.process_index}}.json", "w") as file:
    json.dump(found, file)
accelerator.end_training()
"""


def paper_sized(kind: str, pool: Pool, n_classes: int) -> Any:
    """A new model as a run makes it."""
    tokenizer = pool.texts.tokenizer
    vectors = np.random.default_rng(0).normal(size=(len(tokenizer), 20)).astype(np.float32)
    with torch_stream(0, 0, "training"):
        return kind_of(kind).new_model(ModelConfig(model=kind), [f"c{i}" for i in range(n_classes)], tokenizer, vectors)


def test_two_processes_ask_for_the_same_rows(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(IN_PROCESSES.format(tests=[str(folder) for folder in Path(__file__).parents[:2]], processes=2))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [*torchrun, str(script), str(tmp_path / "found")],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads((tmp_path / f"found-{i}.json").read_text()) for i in range(2))
    assert first == second
    pool = odd_pool(50)
    for kind, n_classes in (("cnn", 2), ("bilstm", 3)):
        model = paper_sized(kind, pool, n_classes)
        for name in OPTIONS:
            query = ask(name, model, pool, 9)
            rows, reasons = first.pop(f"{name}, {kind}")
            assert_same(Query.of(rows, reasons), query)
    assert not first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Class", "No module named 'no_such_module'"),
        ("strategy_cases:NoSuchClass", "no attribute 'NoSuchClass'"),
        ("strategy_cases:NeedsArguments", "missing 1 required positional argument: 'size'"),
        ("strategy_cases:NoQuery", r"has no method query\(model, pool, n, rng\)"),
        ("strategy_cases:CLASSES", "not callable"),
        ("strategy_cases:", "cannot make"),
        (":Longest", "cannot make"),
        (".strategy_cases:Longest", "cannot make"),
        ("strategy_cases:Longest:Longest", "no attribute"),
    ],
)
def test_a_strategy_that_cannot_be_made(name, message):
    with pytest.raises(ConfigError, match=message) as raised:
        build_strategy(StrategyConfig(strategy=name))
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_strategy_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "own_strategies").mkdir()
    (tmp_path / "own_strategies" / "first_rows.py").write_text(
        "from dami_text.strategies import Query\n\n\nclass First:\n"
        "    def query(self, model, pool, n, rng):\n        return Query.of(pool.unlabeled[:n])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    pool = odd_pool()
    strategy = build_strategy(StrategyConfig(strategy="own_strategies.first_rows:First"))
    query = strategy.query(None, pool, 4, np.random.default_rng(0))
    check_query(query, pool, 4)
    assert query.rows.tolist() == pool.unlabeled[:4].tolist()


def test_the_options_reach_the_strategies():
    config = StrategyConfig(
        strategy="bald", bald_samples=3, inference_batch_size=5, egl_parameters="head",
        interpretation_target="logit", interpretation_class="all", distance="cosine",
        informative_word="norm", clustering="park-jun", uncertain_factor=7, positive_class="spam",
    )  # fmt: skip
    representation = Representation("logit", "all", 5, "norm")
    expected = {
        "least-confidence": Uncertainty("least-confidence", 5),
        "margin": Uncertainty("margin", 5),
        "entropy": Uncertainty("entropy", 5),
        "bald": Bald(3, 5),
        "egl": Egl("head", 5),
        "egl-word": EglWord(5),
        "coreset": Coreset(5),
        "badge": Badge(5),
        "dami": Dami(representation=representation, distance="cosine", clustering="park-jun"),
        "dami-kcenter": DamiKCenter(representation),
        "kmeans-features": KMeansFeatures(5),
        "dami-margin": DamiMargin(representation=representation, distance="cosine", clustering="park-jun", factor=7),
        "cluster-margin": ClusterMargin(7, 5),
        "typiclust": TypiClust(5),
        "probcover": ProbCover(5),
        "cal": Cal(5),
        "dropquery": DropQuery(5),
        "expected-errors": ExpectedErrors(5),
        "positives": Positives("spam", 5),
    }
    found = {name: build_strategy(replace(config, strategy=name)) for name in STRATEGIES if name != "random"}
    assert found == expected


@pytest.mark.parametrize(
    ("rows", "reasons", "message"),
    [
        ([0, 1], 2, "2 rows and 2 reasons; 3 each"),
        ([0, 1, 2], 2, "3 rows and 2 reasons; 3 each"),
        ([0, 1, 0], 3, "row 0 more than once"),
        ([0, 1, 4], 3, "row 4, which is not among"),
        ([0, 1, 99], 3, "row 99, which is not among"),
        ([0, 1, -1], 3, "row -1, which is not among"),
    ],
)
def test_a_query_that_breaks_the_rules(rows, reasons, message):
    pool = pool_of(make_texts(6), [4, 5])
    with pytest.raises(QueryError, match=message):
        check_query(Query.of(np.array(rows), [{}] * reasons), pool, 3)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ({"text": "w1"}, "named a reason 'text', a field of the record; choose another name"),
        ({"score": np.float32("nan")}, "returned score = nan; wanted a string, a finite number or None"),
        ({"score": float("inf")}, "returned score = inf; wanted"),
        ({"scores": [1, 2]}, r"returned scores = \[1, 2\]; wanted"),
    ],
)
def test_reasons_that_cannot_be_recorded(reason, message):
    pool = pool_of(make_texts(6))
    with pytest.raises(QueryError, match=message):
        check_query(Query.of(np.arange(2), [{"score": 1.0}, reason]), pool, 2)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.arange(2), "the strategy returned ndarray; it must be a Query"),
        (Query(np.array([0.0, 1.0]), [{}, {}], {}), r"rows of shape \(2,\) and type float64; wanted integers \(n,\)"),
        (Query(np.array([[0, 1]]), [{}], {}), r"rows of shape \(1, 2\) and type int64; wanted integers \(n,\)"),
        (Query(np.arange(2), [{}, {}], {"loss": float("nan")}), "returned loss = nan; wanted"),
    ],
)
def test_what_is_no_query(query, message):
    with pytest.raises(QueryError, match=message):
        check_query(query, pool_of(make_texts(6)), 2)


def test_a_checked_query_goes_into_json():
    reasons = [{"score": np.float32(0.5), "size": np.int64(3)}, {"word": None, "is_long": np.True_}]
    query = check_query(Query([1, 0], reasons, {"mean": np.float64(2)}), pool_of(make_texts(6)), 2)
    assert json.dumps(query.reasons) == '[{"score": 0.5, "size": 3}, {"word": null, "is_long": true}]'
    assert json.dumps(query.details) == '{"mean": 2.0}'
    assert (query.rows.tolist(), query.rows.dtype) == ([1, 0], np.int64)


def test_equal_scores_keep_the_order_of_the_rows():
    pool = pool_of(make_texts(7), [0])
    query = highest(np.array([1.0, 3.0, 3.0, 0.0, 3.0, 2.0]), pool, 4)
    assert query.rows.tolist() == [2, 3, 5, 6]
    assert [reason["score"] for reason in query.reasons] == [3, 3, 3, 2]
