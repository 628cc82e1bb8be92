"""Configurations of ``mel_matrix`` that golden arrays exist for, and their waveforms."""

from __future__ import annotations

from typing import Any

from signals import Signal, speechlike

_SHORT: dict[str, Any] = {"sample_length": 0.5}

# By name: what differs from the defaults. Two long segments each.
RECIPES: dict[str, dict[str, Any]] = {
    "power": _SHORT,
    "db": {**_SHORT, "scale": "db"},
    "db_of_maximum": {**_SHORT, "scale": "db", "ref": "max", "top_db": 50.0},
    "db_without_floor": {**_SHORT, "scale": "db", "ref": 0.5, "amin": 1e-6, "top_db": None},
    "htk": {**_SHORT, "mel_scale": "htk", "norm": "none", "n_mels": 24},
    "reflected": {**_SHORT, "pad_mode": "reflect", "n_fft": 512, "hop_length": 64},
    "not_centred": {**_SHORT, "center": False, "n_mels": 20, "fmin": 50.0, "fmax": 1500.0},
    "with_a_rest": {
        "sample_rate": 16000,
        "sample_length": 0.55,
        "short_segment_points": 1100,
        "n_fft": 400,
        "hop_length": 160,
        "n_mels": 40,
        "scale": "db",
    },
}


def waveform(name: str) -> Signal:
    """(N,) synthetic voices of the length that the recipe takes."""
    recipe = RECIPES[name]
    return speechlike(round(recipe["sample_length"] * recipe.get("sample_rate", 4096)), seed=11)
