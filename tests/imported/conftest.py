"""The stage `import` on two files."""

import pytest

from flow.core.plan import order, run_point
from flow.core.store import Store
from flow.points import load_point
from flow.stages import all_stages


@pytest.fixture
def world(tmp_path):
    """Run the stage `import` on two files; the second call finds the store of the first."""

    def run(network, data, *sets, until="import"):
        point = load_point(None, [f'onnx="{network}"', f'data.path="{data}"', "gate.samples=64", "gate.rtl_samples=32", *sets])
        store = Store(tmp_path / "store")
        return run_point(order(all_stages(point), until), point, store), point, store

    return run
