"""Make ``mel.npz`` from librosa: mel spectrograms of short segments, one at a time.

Nothing of voxport is imported. Run it only to add recipes or to check that the committed arrays
reproduce (``--check``); the tests read the ``.npz`` file and need none of this:

    python -m venv original && . original/bin/activate
    pip install librosa
    python tests/golden/make_mel.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/

from mel_recipes import RECIPES, waveform

FILE = Path(__file__).resolve().parent / "mel.npz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    made = {name: matrix(name) for name in RECIPES}
    if not parser.parse_args().check:
        np.savez_compressed(FILE, **made, librosa=np.array(librosa.__version__))
        return 0
    with np.load(FILE) as committed:
        return 0 if all(np.allclose(committed[name], made[name], rtol=1e-5) for name in made) else 1


def matrix(name: str) -> npt.NDArray[np.float32]:
    """(long_segments, short_segments, n_mels, time_frames) of a recipe's waveform."""
    recipe = RECIPES[name]
    samples = waveform(name)
    long_points = round(recipe.get("long_segment_scale", 0.25) * recipe.get("sample_rate", 4096))
    points = recipe.get("short_segment_points", 512)
    rows = [
        [segment(samples[at : at + points], recipe) for at in range(start, last + 1, points)]
        for start in range(0, len(samples) - long_points + 1, long_points)
        for last in [start + long_points - points]
    ]
    return np.array(rows, np.float32)


def segment(samples: npt.NDArray[np.float32], recipe: dict[str, Any]) -> npt.NDArray[np.float32]:
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=recipe.get("sample_rate", 4096),
        n_fft=recipe.get("n_fft", 256),
        hop_length=recipe.get("hop_length", 32),
        n_mels=recipe.get("n_mels", 64),
        fmin=recipe.get("fmin", 0.0),
        fmax=recipe.get("fmax"),
        htk=recipe.get("mel_scale", "slaney") == "htk",
        norm=None if recipe.get("norm") == "none" else "slaney",
        center=recipe.get("center", True),
        pad_mode=recipe.get("pad_mode", "constant"),
    )
    if recipe.get("scale", "power") == "power":
        return power
    ref = np.max if recipe.get("ref") == "max" else recipe.get("ref", 1.0)
    amin, top_db = recipe.get("amin", 1e-10), recipe.get("top_db", 80.0)
    return librosa.power_to_db(power, ref=ref, amin=amin, top_db=top_db)


if __name__ == "__main__":
    sys.exit(main())
