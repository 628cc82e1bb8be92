"""Many recordings: where they are, who works on them, and what became of each."""

from __future__ import annotations

from .diarize import diarize_corpus

__all__ = ["diarize_corpus"]
