"""The recording that artifacts are verified on: 30 s, two speakers, human turns."""

from __future__ import annotations

import soundfile

from .checkpoints import fetch
from .errors import ExportError
from .verification.cases import Speech, Turn


def verification_speech() -> Speech:
    """pyannote.audio's sample, from the cache or the package that carries it.

    Raises:
        CheckpointError: it could not be fetched.
        ExportError: it is not what verification expects.
    """
    path = fetch("sample.wav")
    samples, sample_rate_hz = soundfile.read(path, dtype="float32")
    if samples.ndim != 1 or sample_rate_hz != 16000:
        raise ExportError(f"{path}: expected 16 kHz mono, got {sample_rate_hz} Hz {samples.shape}")
    lines = fetch("sample.rttm").read_text(encoding="utf-8").splitlines()
    return Speech(samples, sample_rate_hz, tuple(_turn(line) for line in lines if line.strip()))


def _turn(line: str) -> Turn:
    """One SPEAKER line of an RTTM file."""
    fields = line.split()
    start_s, duration_s = float(fields[3]), float(fields[4])
    return Turn(start_s, start_s + duration_s, fields[7])
