"""Arrays that are mapped from the same file elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from charlm.system.mpi.mapping import describe, mapped


def test_a_file_is_known_by_its_contents(tmp_path: Path) -> None:
    """A mapped array is found again in its file, with what it holds; another content is not taken for it."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, 50_000).astype(np.uint8)
    file = tmp_path / "ids"
    file.write_bytes(values.tobytes())
    array = np.memmap(file, np.uint8, "r").view(np.ndarray)[100:]
    about = describe(array)
    assert about.offset == 100
    found = mapped(about)
    assert found is not None
    np.testing.assert_array_equal(found, array)
    file.write_bytes(rng.permutation(values).tobytes())
    assert mapped(about) is None
    file.unlink()
    assert mapped(about) is None
    assert mapped(describe(values)) is None
