"""Lines of a text: where they are, and which part each falls to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.data import texts as module
from charlm.data.texts import Lines, Text

SHARES = (0.7, 0.1, 0.2)


def _lines(text: str) -> Lines:
    """The lines of a text whose line break is `/`; ids are its code points."""
    return Lines.of(np.array([ord(c) for c in text], np.uint8))


def _texts(lines: Lines) -> list[str]:
    """Each line, from the line break before it to its own."""
    return [
        "".join(map(chr, lines.ids[start - 1 : start + length]))
        for start, length in zip(lines.starts.tolist(), lines.lengths.tolist(), strict=True)
    ]


@given(words=st.lists(st.text("abc", max_size=5), max_size=60), block=st.integers(1, 40))
@example(words=[], block=1)
@example(words=["", "a", "", "", "bc", ""], block=3)
@example(words=["a" * 126], block=1000)
@example(words=["a" * 127], block=1000)
def test_lines_are_what_is_between_line_breaks(words: list[str], block: int) -> None:
    """Every line but the empty ones is found, in order, whatever blocks the text is looked at in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        lines = _lines("/" + "".join(f"{word}/" for word in words))
    assert _texts(lines) == [f"/{word}/" for word in words if word]
    assert len(lines) == sum(map(bool, words))
    assert lines.targets == sum(len(word) + 1 for word in words if word)
    assert lines.lengths.min(initial=2) >= 2
    # the first input of a line is the line break before it
    firsts, targets = lines.examples()
    assert [chr(one) for one in lines.ids[firsts]] == ["/"] * len(lines)
    assert [chr(one) for one in lines.ids[firsts + targets]] == ["/"] * len(lines)


def test_equal_lines_have_equal_hashes() -> None:
    """Whatever stands before and after them, lines have one number if they are equal, and else several."""
    hashes = _lines("/a/ab/b/ab/ba/a/").hashes().tolist()
    assert [hashes.index(one) for one in hashes] == [0, 1, 2, 1, 4, 0]


@pytest.mark.parametrize("text", ["", "ab/", "/ab"])
def test_a_text_that_does_not_begin_and_end_with_a_line_break_is_refused(text: str) -> None:
    """There must be a line break before the first line and after the last."""
    with pytest.raises(ValueError, match="begins and ends with a line break"):
        _lines(text)


@pytest.mark.parametrize(
    ("count", "length", "starts", "lengths"),
    [(3, 5, np.int8, np.int8), (100, 5, np.int16, np.int8), (9000, 200, np.int32, np.int16)],
)
def test_starts_and_lengths_take_little_memory(count: int, length: int, starts: type, lengths: type) -> None:
    """Both are of the smallest signed type that holds them, and sums over lines do not overflow."""
    lines = _lines("/" + ("a" * (length - 1) + "/") * count)
    assert (lines.starts.dtype, lines.lengths.dtype) == (starts, lengths)
    assert lines.targets == count * length


def test_a_memory_map_is_not_copied(tmp_path: Path) -> None:
    """Lines of a memory map, all parts included, hold the map itself."""
    (tmp_path / "ids").write_bytes(b"/ab/c/def/" * 1000)
    ids = np.memmap(tmp_path / "ids", np.uint8, "r")
    lines = Lines.of(ids)
    assert len(lines) == 3000
    assert all(part.ids is ids for part in (lines, *lines.split(SHARES)))


@given(
    count=st.integers(0, 200),
    shares=st.tuples(*[st.floats(0, 1)] * 3).filter(lambda shares: sum(shares) > 1e-3),
)
def test_every_line_is_in_one_part(count: int, shares: tuple[float, float, float]) -> None:
    """Parts share no line, leave none out, keep the order of the text, and have their shares."""
    lines = _lines("/" + "".join(f"{'a' * (n % 7 + 1)}/" for n in range(count)))
    parts = lines.split(shares)
    assert sorted(text for part in parts for text in _texts(part)) == sorted(_texts(lines))
    together = np.concatenate([part.starts for part in parts])
    assert sorted(together.tolist()) == lines.starts.tolist()
    for part, share in zip(parts, shares, strict=True):
        assert (np.diff(part.starts) > 0).all()
        assert len(part.starts) == len(part.lengths)
        assert abs(len(part) - count * share / sum(shares)) <= 1


def test_parts_are_mixed_and_always_the_same() -> None:
    """Parts are drawn from all of the text, and the draw is this one, on every machine, for ever."""
    lines = _lines("/" + "ab/" * 1000)
    _, validation, test = lines.split(SHARES)
    # 0.7 + 0.1 of ten lines are eight, though their sum is less than 0.8
    assert [len(part) for part in lines.between(0, 10).split(SHARES)] == [7, 1, 2]
    assert 250 < np.median(test.starts // 3) < 750
    assert ((test.starts - 1) // 3)[:6].tolist() == [4, 5, 7, 10, 19, 27]
    assert ((validation.starts - 1) // 3)[:6].tolist() == [1, 2, 6, 8, 17, 28]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (Text(np.zeros(0, np.uint8)), 0),
        (Text(np.zeros(1, np.uint8)), 0),
        (Text(np.zeros(9, np.uint8)), 8),
        (_lines("/"), 0),
        (_lines("/ab//c/"), 5),
    ],
)
def test_what_there_is_to_predict(text: module.Text, count: int) -> None:
    """All of one text but its first unit; of lines everything, line breaks included."""
    assert text.targets == count == sum(len(block) for block in text.target_blocks())
    assert text.examples()[1].sum() == count


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("text", "targets", "units"),
    [
        (Text(np.arange(10)), 3, 4),
        (Text(np.arange(10)), 9, 10),
        (Text(np.arange(10)), 99, 10),
        (_lines("/" + "ab/" * 10), 6, 2),
        (_lines("/" + "ab/" * 10), 7, 3),
        (_lines("/"), 5, 0),
    ],
)
def test_an_excerpt_is_the_beginning_or_the_end(
    text: module.Text, targets: int, units: int, last: bool
) -> None:
    """It holds about as many predicted units as asked for, rounded up, and never more than there are."""
    excerpt = text.excerpt(targets, last)
    assert len(excerpt) == units
    whole, part = (one.examples()[0] if one.lines is not None else one.ids for one in (text, excerpt))
    assert part.tolist() == (whole[len(whole) - units :] if last else whole[:units]).tolist()
