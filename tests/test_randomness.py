"""Random streams: independent, repeatable, and without a trace in the global generators."""

import numpy as np
import pytest
import torch

from dami_text.randomness import integer_seed, numpy_stream, torch_stream

STREAMS = [(0, 0, "query"), (1, 0, "query"), (0, 1, "query"), (0, 0, "batches"), (2**32 - 1, 10_000, "")]


def draw(seed, round_number, purpose):
    return numpy_stream(seed, round_number, purpose).random(2000)


def test_a_stream_depends_on_its_name_only():
    alone = [draw(*stream) for stream in STREAMS]
    backwards = [draw(*stream) for stream in reversed(STREAMS)][::-1]
    np.testing.assert_array_equal(alone, backwards)


def test_streams_of_different_names_have_nothing_in_common():
    names = STREAMS + [(seed, n, p) for seed in (1, 2, 12) for n in (1, 2, 12) for p in ("query", "1", "2", "12")]
    draws = np.array([draw(*stream) for stream in names])
    correlations = np.corrcoef(draws)[np.triu_indices(len(names), 1)]
    assert np.abs(correlations).max() < 5 / 2000**0.5  # five standard deviations
    np.testing.assert_allclose(draws.mean(axis=1), 0.5, atol=5 * (1 / 12 / 2000) ** 0.5)
    assert len({integer_seed(*stream) for stream in names}) == len(names)
    assert all(0 <= integer_seed(*stream) < 2**32 for stream in names)


def test_torch_draws_from_the_stream_inside_and_goes_on_after_it_as_if_nothing_had_been():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = torch.rand(4)
        torch.manual_seed(1)
        before = torch.rand(2)
        with torch_stream(0, 3, "training"):
            inside = torch.rand(5)
            with torch_stream(0, 3, "other"):
                nested = torch.rand(5)
            rest = torch.rand(5)
        after = torch.rand(2)
    assert torch.equal(torch.cat([before, after]), expected)
    with torch_stream(0, 3, "training"):
        assert torch.equal(torch.rand(10), torch.cat([inside, rest]))
    assert not torch.equal(nested, inside)


def test_torchs_generator_is_restored_after_an_exception():
    state = torch.random.get_rng_state()

    def fail() -> None:
        with torch_stream(0, 0, "training"):
            torch.rand(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is what must not change
    numpy_stream(0, 0, "query").random()
    integer_seed(0, 0, "query")
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
