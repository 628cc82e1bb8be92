"""Files that break off: a header that promises more than there is, or an MP3 that goes on.

libsndfile reads what there is of most of them without a word. A meeting that is cut in half
must not pass for a short one.
"""

from __future__ import annotations

import re
from typing import Protocol

# libsndfile's log of WAV, RF64, W64, AIFF and AU headers: "data : 88200 (should be 49920)".
_SIZES = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE
)
# Writers into a pipe put the largest size, or nearly, for one that they cannot know.
_UNKNOWN_SIZE = 2**31 - 2**16
# A byte of padding may be missing.
_PADDING_BYTES = 8

_ID3_HEADER_BYTES = 10
# The first frame, 1441 bytes at most, holds the number of frames if anything does.
_FIRST_FRAME_BYTES = 2048
# libsndfile leaves tags behind the last frame, and what its decoder has read ahead, unread.
_SCANNED_BYTES = 64 * 1024
_FRAMES_IN_A_ROW = 8
_MPEG_1, _LAYER_3 = 3, 1
_BITRATES_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


def promised_bytes(log: str) -> tuple[int, int] | None:
    """(promised, there) of a header that promises more bytes than there are, from libsndfile's log.

    None if it does not, or if its writer could not know the size.
    """
    for match in _SIZES.finditer(log):
        promised, there = int(match[1]), int(match[2])
        if there + _PADDING_BYTES < promised < _UNKNOWN_SIZE:
            return promised, there
    return None


def mp3_length_is_known(file: _Readable) -> bool:
    """Whether the first frame tells the number of frames; otherwise it is guessed from the size."""
    file.seek(0)
    head = file.read(_ID3_HEADER_BYTES)
    start = 0
    if head[:3] == b"ID3" and len(head) == _ID3_HEADER_BYTES:
        # Seven bits in each of four bytes.
        start = _ID3_HEADER_BYTES + sum(
            (byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    file.seek(start)
    frame = file.read(_FIRST_FRAME_BYTES)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))


def mp3_goes_on(file: _Readable) -> bool:
    """Whether frames follow where a decoder stopped reading.

    libsndfile stops at the length that it guessed, which is wrong where the bit rate varies or
    files were joined.
    """
    rest = file.read(_SCANNED_BYTES)
    starts = (match.start() for match in re.finditer(rb"\xff[\xe2-\xff]", rest))
    return any(_frames_follow(rest, start) for start in starts)


def _frames_follow(content: bytes, start: int) -> bool:
    for _ in range(_FRAMES_IN_A_ROW):
        length = _frame_bytes(content[start : start + 4])
        if not length:
            return False
        start += length
    return True


def _frame_bytes(header: bytes) -> int:
    """The length of an MPEG layer 3 frame; 0 if the four bytes begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if layer != _LAYER_3 or version not in _RATES_HZ or bitrate in (0, 15) or rate == 3:
        return 0
    first_version = version == _MPEG_1
    bits_per_s = 1000 * _BITRATES_KBPS[first_version][bitrate]
    return (144 if first_version else 72) * bits_per_s // _RATES_HZ[version][rate] + padding
