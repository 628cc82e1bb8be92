"""Reading ahead: in order, no further than allowed, and never left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from voxport.runtime.read_ahead import ReadAhead


def readers() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "voxport-reader"]


def test_items_come_in_order() -> None:
    assert list(ReadAhead(range(1000), 3)) == list(range(1000))
    assert list(ReadAhead([], 3)) == []
    assert readers() == []


def test_no_more_than_allowed_is_read_ahead() -> None:
    taken = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            if item == 3:
                enough.set()
            yield item

    ahead = ReadAhead(items(), 2)
    reading = iter(ahead)
    assert next(reading) == 0
    assert enough.wait(10)
    # One was given, two wait, one is in the reader's hand.
    assert not threading.Event().wait(0.2)
    assert taken == [0, 1, 2, 3]
    ahead.close()
    assert taken == [0, 1, 2, 3]
    assert readers() == []


def test_an_error_comes_where_it_was_met() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken off")

    seen = []
    with pytest.raises(ValueError, match="broken off"):
        seen.extend(iter(ReadAhead(items(), 5)))
    reading = iter(ReadAhead(items(), 5))
    assert [next(reading), next(reading)] == [1, 2]
    with pytest.raises(ValueError, match="broken off"):
        next(reading)
    assert readers() == []


def test_what_is_closed_early_closes_what_it_read() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    ahead = ReadAhead(items(), 1)
    assert next(iter(ahead)) == 0
    ahead.close()
    assert closed.is_set()
    assert readers() == []
