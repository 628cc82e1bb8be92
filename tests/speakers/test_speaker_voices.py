"""What of a recording makes which embedding, by hand and against every single frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime.annotation.spans import Span, covered
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.speakers.pieces import Masks, pieces
from voxport.runtime.speakers.voices import Voice, voices_of, without
from voxport.runtime.windows import WindowPlan, cut

Pairs = list[tuple[int, int]]
_PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12)


def spans(pairs: Pairs) -> tuple[Span, ...]:
    return covered(Span(start, start + length) for start, length in pairs)


@given(_PAIRS, _PAIRS)
def test_what_others_leave(own: Pairs, others: Pairs) -> None:
    left = without(spans(own), spans(others))
    seconds = {s for span in left for s in range(int(span.start_s), int(span.end_s))}
    expected = {s for start, length in own for s in range(start, start + length)}
    expected -= {s for start, length in others for s in range(start, start + length)}
    assert seconds == expected
    assert all(span.start_s < span.end_s for span in left)
    assert list(left) == sorted(left)


TURNS = Turns([Turn(0, 4, "b"), Turn(3, 5, "a"), Turn(6, 7, "b")])


def test_voices_per_speaker() -> None:
    a, b = voices_of(TURNS, "speaker", 0.5)
    assert (a.label, a.start_s, a.end_s, a.spans) == ("a", 3, 5, (Span(4, 5),))
    assert (b.label, b.start_s, b.end_s, b.spans) == ("b", 0, 7, (Span(0, 3), Span(6, 7)))


def test_voices_per_segment_in_order() -> None:
    found = voices_of(TURNS, "segment", 0.5)
    assert [(each.label, each.spans) for each in found] == [
        ("b", (Span(0, 3),)),
        ("a", (Span(4, 5),)),
        ("b", (Span(6, 7),)),
    ]


def test_all_is_taken_where_too_little_is_clean() -> None:
    a, _ = voices_of(TURNS, "speaker", 1.5)
    assert a.spans == (Span(3, 5),)


@given(st.integers(1, 400), st.integers(7, 60), st.booleans())
def test_pieces_cover_every_sample_once(count: int, window: int, padded: bool) -> None:
    samples = np.arange(1, count + 1, dtype=np.float32)
    found = list(pieces(cut([samples], WindowPlan(window, window, 1)), padded=padded))
    fresh = [sample for piece in found for sample in range(piece.fresh, piece.end)]
    assert fresh == list(range(count))
    for piece in found:
        length = piece.end - piece.start
        assert np.array_equal(piece.samples[:length], samples[piece.start : piece.end])
        assert not piece.samples[length:].any()
        assert len(piece.samples) == (window if padded or count >= window else count)


@given(_PAIRS, _PAIRS, st.integers(1, 30), st.integers(1, 60))
def test_masks_are_what_each_frame_says(
    one: Pairs, other: Pairs, num_frames: int, count: int
) -> None:
    voices = [Voice(str(n), 0, 50, spans(pairs)) for n, pairs in enumerate((one, other))]
    masks = Masks(voices, rate_hz=1)
    blocks = cut([np.ones(count, np.float32)], WindowPlan(25, 25, 1))
    for piece in pieces(blocks, padded=False):
        numbers, rows = masks.of(piece, num_frames)
        hop = len(piece.samples) / num_frames
        middles = [piece.start + (frame + 0.5) * hop for frame in range(num_frames)]
        for number, voice in enumerate(voices):
            expected = [
                float(
                    piece.fresh <= middle < piece.end
                    and any(span.start_s <= middle < span.end_s for span in voice.spans)
                )
                for middle in middles
            ]
            row = rows[numbers.tolist().index(number)] if number in numbers else [0] * num_frames
            assert list(row) == pytest.approx(expected)
