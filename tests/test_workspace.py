"""Memory that is used again, and never for two things at once."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.workspace import Workspace


def test_arrays_are_used_again() -> None:
    """In the next window the same name gives the same memory, for a smaller shape too."""
    workspace = Workspace()
    first = workspace.array("h", (4, 6), np.float32)
    workspace.begin()
    assert np.shares_memory(first, workspace.array("h", (3, 5), np.float32))
    workspace.begin()
    assert not np.shares_memory(first, workspace.array("h", (5, 6), np.float32))


def test_layers_have_names_of_their_own() -> None:
    """The same name in two layers is two arrays, and both are free again with the next window."""
    workspace = Workspace()
    for _ in range(2):
        arrays = [workspace.within(layer).array("h", (2,), np.float64) for layer in ("0", "1")]
        arrays.append(workspace.array("h", (2,), np.float64))
        for number, array in enumerate(arrays):
            array[...] = number
        assert [array[0] for array in arrays] == [0, 1, 2]
        workspace.begin()


def test_a_name_cannot_be_claimed_twice() -> None:
    """A second claim within a window, or of scratch in use, is an error, in whichever layer."""
    workspace = Workspace()
    workspace.array("h", (2,), np.float32)
    with pytest.raises(RuntimeError, match="'h' is claimed twice"):
        workspace.array("h", (2,), np.float32)
    with workspace.scratch() as scratch:
        scratch.array("Wh", (2,), np.float32)
        with (
            workspace.within("layer").scratch() as other,
            pytest.raises(RuntimeError, match="'Wh' is claimed twice"),
        ):
            other.array("Wh", (2,), np.float32)


def test_scratch_is_shared_and_given_back() -> None:
    """When a scope ends, its memory serves the next one, in any layer."""
    workspace = Workspace()
    with workspace.within("0").scratch() as scratch:
        first = scratch.array("rows", (6,), np.float32)
    with workspace.within("1").scratch() as scratch:
        assert np.shares_memory(first, scratch.array("rows", (2, 3), np.float32))


def test_an_array_has_the_type_that_is_asked_for() -> None:
    """The same name and shape with another type is another array, not the old one."""
    workspace = Workspace()
    for dtype in (np.float32, np.float64):
        assert workspace.array("h", (2, 3), dtype).dtype == dtype
        workspace.begin()
