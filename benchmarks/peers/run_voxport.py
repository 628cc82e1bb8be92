"""voxport itself, installed like any peer: ``Diarizer`` on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peer_protocol import Diarize, Turn, serve


def load(options: Mapping[str, Any], threads: int) -> Diarize:
    """Options: ``models``, ``mode``, ``precision``, ``embedding``."""
    from voxport.runtime.diarization import Diarizer, Settings  # noqa: PLC0415 -- pinned first

    diarizer = Diarizer(
        models=options["models"],
        device="cpu",
        precision=options["precision"],
        embedding=options["embedding"],
        settings=Settings(mode=options["mode"]),
        threads=threads,
    )

    def diarize(path: str) -> list[Turn]:
        return [(turn.start_s, turn.end_s, turn.speaker) for turn in diarizer(path).turns]

    return diarize


if __name__ == "__main__":
    serve(load, ("voxport", "onnxruntime", "numpy"))
