"""Decode the next recordings while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..closing import Closing
from ..errors import VoxportError

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from .matrix import MelMatrix, MelStream


class StreamsAhead(Closing):
    """Streams of recordings that are taken in order; ``num_threads`` of them are decoded at once.

    Each holds a few blocks at most, however long it waits.

    Args:
        mel: what makes streams.
        recordings: all that may be taken.
        num_threads: recordings that are decoded at once, the one that is taken among them.
        wanted: whether a recording will be taken at all.
    """

    def __init__(
        self,
        mel: MelMatrix,
        recordings: Sequence[Recording],
        num_threads: int,
        wanted: Callable[[Recording], bool],
    ) -> None:
        self._mel, self._num_threads, self._wanted = mel, num_threads, wanted
        self._coming = deque(each for each in recordings if each.path is not None)
        self._begun: dict[str, MelStream] = {}

    def take(self, recording: Recording, audio: AudioSource) -> MelStream:
        """The stream of a recording; those after it begin.

        Raises:
            AudioError: the audio cannot be opened.
        """
        stream = self._begun.pop(recording.label, None) or self._mel.stream(audio)
        stream.begin()
        if recording in self._coming:
            while self._coming.popleft() != recording:
                pass
        for coming in islice(self._coming, self._num_threads - 1):
            self._begin(coming)
        return stream

    def _begin(self, recording: Recording) -> None:
        if recording.label in self._begun or recording.path is None:
            return
        try:
            if self._wanted(recording):
                stream = self._mel.stream(recording.path)
                stream.begin()
                self._begun[recording.label] = stream
        except (VoxportError, OSError):
            return  # it is met again, and told, when it is that recording's turn

    def close(self) -> None:
        """End all threads."""
        for stream in self._begun.values():
            stream.close()
