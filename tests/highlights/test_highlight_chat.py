"""Chat counts, from CSV that anybody may have written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from voxport.runtime.errors import ChatError
from voxport.runtime.highlights import ChatCounts, read_chat


def read(text: str) -> list[tuple[float, float]]:
    chat = read_chat(io.StringIO(text))
    return list(zip(chat.times_s.tolist(), chat.counts.tolist(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "time_s,count\n1,2\n0.5,3\n",
        "1,2\n0.5,3\n",
        "when,how many\r\n1,2\r\n\r\n0.5,3",
        "\n 1 , 2.0\n5e-1,+3\n",
    ],
)
def test_rows_in_any_order_with_or_without_a_header(text: str) -> None:
    assert read(text) == [(1.0, 2.0), (0.5, 3.0)]


@pytest.mark.parametrize("text", ["", "time_s,count\n", "\n\n"])
def test_nobody_wrote(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,count\n1,2\nsoon,3\n", r"chat:3: time_s must be a number .* got 'soon'"),
        ("1,2\n2,many\n", r"chat:2: count must be a number"),
        ("1,2\n\n-1,2\n", r"chat:3: time_s"),
        ("1,-2\n", r"chat:1: count"),
        ("1,nan\n", r"chat:1: count"),
        ("inf,1\n", r"chat:1: time_s"),
        ("1699999999000,1\n", r"chat:1: time_s must be a number from 0 to 1e\+07"),
        ("1,2,3\n", r"chat:1: expected time_s,count, got '1,2,3'"),
        ("1\n", r"chat:1: expected time_s,count"),
        ("time_s,count\ntime_s,count\n", r"chat:2: time_s"),
        ("1;2\n1,2\n3\n", r"chat:3: expected"),
    ],
)
def test_bad_rows_are_named_by_their_line(text: str, message: str) -> None:
    with pytest.raises(ChatError, match=message):
        read(text)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "chat.csv").write_bytes(b"1,2\n\xff\xfe,3\n")
    for path in (tmp_path / "nowhere.csv", tmp_path, tmp_path / "chat.csv", "a\0b"):
        with pytest.raises(ChatError, match=r"cannot be read|is not CSV"):
            read_chat(path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "chat.csv"
    path.write_text("1,2\n", encoding="utf-8-sig")
    assert read_chat(path).counts.tolist() == [2]


def test_messages_are_counted_by_the_frame() -> None:
    chat = ChatCounts(np.array([0.3, 0.0, 0.05, 0.31, 9.0]), np.array([1.0, 2, 3, 4, 5]))
    # 0.3 / 0.1 is below 3 in floating point.
    np.testing.assert_array_equal(chat.per_frame(5, 0.1), [5, 0, 0, 5, 0])
    assert chat.per_frame(5, 0.1).dtype == np.float32


def test_single_messages() -> None:
    chat = ChatCounts.of_messages([2.5, 0.2, 2.6])
    np.testing.assert_array_equal(chat.per_frame(3, 1.0), [1, 0, 2])
    assert ChatCounts.of_messages([]).per_frame(2, 1.0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("times_s", "counts"),
    [
        ([1.0], [1.0, 2.0]),
        ([np.nan], [1.0]),
        ([-1.0], [1.0]),
        ([1.0], [np.inf]),
        ([[1.0]], [[1.0]]),
    ],
)
def test_counts_that_cannot_be(times_s: list[float], counts: list[float]) -> None:
    with pytest.raises(ChatError):
        ChatCounts(np.array(times_s), np.array(counts))
