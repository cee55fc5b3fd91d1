"""A study that several files of tests look at."""

import pytest
from fault_samples import faulty


@pytest.fixture(scope="session")
def six(tmp_path_factory):
    """Three widths with and without a regularizer; those of 4 bits are not hardened, and no bit of one of them is visible."""
    folder = tmp_path_factory.mktemp("arrays")
    cases = [(bits, regularizer) for bits in (4, 6, 8) for regularizer in ("", "jacobian")]
    return [faulty(folder, b, r, scale=0.01 if (b, r) == (4, "jacobian") else 1.0, harden=b != 4) for b, r in cases]
