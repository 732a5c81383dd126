import doctest
import inspect
import io
import sys
import types

import pytest

import dami_text
from dami_text import errors


def test_the_public_names_are_sorted_and_exist():
    assert dami_text.__all__ == sorted(set(dami_text.__all__))
    assert [name for name in dami_text.__all__ if not hasattr(dami_text, name)] == []


def test_nothing_else_is_public():
    found = {
        name
        for name, value in vars(dami_text).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert found - {"import_module", "Any", "TYPE_CHECKING"} == set(dami_text.__all__) == dami_text._PLACES.keys()
    with pytest.raises(AttributeError, match="no attribute 'Learner'"):
        dami_text.Learner  # noqa: B018 - it is not there


def test_every_public_name_is_documented_with_its_methods():
    for name in dami_text.__all__:
        value = getattr(dami_text, name)
        assert value.__module__.startswith("dami_text.")
        own = (
            [method for method in vars(value).values() if inspect.isfunction(method)] if inspect.isclass(value) else []
        )
        documented = [value, *(method for method in own if not method.__name__.startswith("_"))]
        undocumented = [item.__qualname__ for item in documented if not (item.__doc__ or "").strip()]
        assert undocumented == []
        # A dataclass without a docstring has its signature for one.
        assert not value.__doc__.startswith(f"{name}(")


@pytest.mark.parametrize("name", dami_text.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    value = getattr(dami_text, name)
    finder = doctest.DocTestFinder(recurse=False)
    examples = finder.find(value, name, globs={**vars(sys.modules[value.__module__])})
    assert any(found.examples for found in examples)
    told = io.StringIO()
    runner = doctest.DocTestRunner()
    for found in examples:
        runner.run(found, out=told.write)
    assert runner.failures == 0, told.getvalue()


def test_every_error_is_public_and_a_dami_error():
    kinds = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert kinds <= set(dami_text.__all__)
    assert all(issubclass(getattr(errors, name), errors.DamiError) for name in kinds)
    assert all(name in errors.__doc__ for name in kinds)
