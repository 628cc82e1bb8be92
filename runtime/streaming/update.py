"""What a streaming diarization tells after every piece of audio."""

from __future__ import annotations

from dataclasses import dataclass

from ..stages import Turn


@dataclass(frozen=True)
class StreamingUpdate:
    """What is known now.

    Attributes:
        final: turns that have ended since the update before; they never change, and none comes
            twice. In the order of their ends, a step after the other.
        provisional: turns that are going on or may still change, sorted. What lies before
            ``final_until_s`` does not change any more: of a turn that goes on, the beginning.
        now_s: seconds of audio so far.
        final_until_s: up to where everything is decided.
    """

    final: tuple[Turn, ...]
    provisional: tuple[Turn, ...]
    now_s: float
    final_until_s: float
