"""Plug-ins are found by module name and by entry point."""

import importlib.metadata
import sys
import types

import pytest

from flow.core import plugins
from flow.core.errors import UnknownPlugin


@pytest.fixture
def outside(monkeypatch):
    """An installed distribution that offers a regularizer."""
    module = types.ModuleType("someones_plugin")
    module.TITLE, module.__file__ = "theirs", "/somewhere/someones_plugin.py"
    monkeypatch.setitem(sys.modules, "someones_plugin", module)
    entry = importlib.metadata.EntryPoint("theirs", "someones_plugin", "hlscape.regularizers")
    function = importlib.metadata.EntryPoint("orthogonality", "math:sqrt", "hlscape.regularizers")
    entries = importlib.metadata.EntryPoints([entry, function])
    monkeypatch.setattr(importlib.metadata, "entry_points", entries.select)
    return module


def test_names_are_modules_that_are_not_private():
    assert set(plugins.names("landscape")) >= {"gradient_norm", "hessian_trace", "top_eigenvalue"}
    assert not any(name.startswith("_") for name in plugins.names("landscape"))
    assert "rounding_names" in plugins.names("quant.repairs")


def test_load():
    assert plugins.load("regularizers", "jacobian").__name__ == "flow.regularizers.jacobian"


def test_unknown_id_answers_with_the_list():
    for use in (plugins.check, plugins.load, plugins.file_of):
        with pytest.raises(UnknownPlugin, match=r"'jacobain' is not one of the regularizers: .*orthogonality.*Did you mean 'jacobian'\?"):
            use("regularizers", "jacobain")
    with pytest.raises(UnknownPlugin) as caught:
        plugins.check("regularizers", "xyz")
    assert "Did you mean" not in str(caught.value)


def test_entry_points(outside):
    found = plugins.names("regularizers")
    assert found == sorted(found)
    assert {"jacobian", "orthogonality", "theirs"} < set(found)
    assert plugins.load("regularizers", "theirs") is outside
    assert plugins.file_of("regularizers", "theirs").name == "someones_plugin.py"
    assert plugins.load("regularizers", "orthogonality").TITLE == "orthogonality", "an entry point that is no module is passed over"


def test_file():
    assert plugins.file_of("regularizers", "jacobian").parts[-3:] == ("flow", "regularizers", "jacobian.py")
