"""Make ``stages.npz`` of this folder: small made-up recordings, diarized by pyannote.audio itself.

Nothing of voxport is imported. Needs what ``make_golden.py`` needs, but no checkpoint:

    python tests/golden/make_stage_golden.py [--check]

Which of several equally active clusters speaks is left to the machine by pyannote.audio (NumPy's
sort is not stable on all of them). Here it is the first, by a stable sort; nothing else of it is
changed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from make_golden import FOLDER, Arrays, made_with, provide_torchaudio

RATE_HZ, WINDOW, STEP = 16000, 32000, 3200
HOP, RECEPTIVE_FIELD, FRAMES = 270, 991, 115
DIMENSION, REDUCED = 24, 20
# Seed, windows, speakers, noise of embeddings, share of NaN embeddings, and speaker bounds.
CASES: tuple[tuple[int, int, int, float, float, dict[str, int]], ...] = (
    (1, 30, 3, 0.5, 0.0, {}),
    (2, 24, 4, 0.9, 0.1, {}),
    (3, 26, 3, 0.7, 0.0, {"num_speakers": 5}),
    (4, 25, 5, 0.6, 0.1, {"max_speakers": 2}),
    (5, 28, 2, 0.8, 0.0, {"min_speakers": 4, "max_speakers": 6}),
    (6, 1, 2, 0.3, 0.0, {}),
    (8, 40, 14, 0.1, 0.0, {"num_speakers": 13}),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    provide_torchaudio()
    warnings.simplefilter("ignore")
    arrays = made_with("pyannote.audio", "scipy", "scikit-learn", "numpy") | stages()
    if arguments.check:
        return 0 if reproduces(arrays) else 1
    np.savez_compressed(FOLDER / "stages.npz", allow_pickle=False, **arrays)
    print(f"stages.npz: {(FOLDER / 'stages.npz').stat().st_size / 1024:.0f} KiB")
    return 0


def reproduces(arrays: Arrays) -> bool:
    """Whether the committed file holds these very arrays, NaN included."""
    with np.load(FOLDER / "stages.npz") as committed:
        differing = sorted(set(arrays) ^ set(committed))
        for name in set(arrays) & set(committed):
            if arrays[name].tobytes() != committed[name].tobytes():
                differing.append(name)
    print(f"stages.npz: {f'differs in {differing}' if differing else 'reproduced'}")
    return not differing


def stages() -> Arrays:
    plda = plda_arrays(np.random.default_rng(7))
    arrays = {f"plda_{name}": array for name, array in plda.items()}
    original = original_plda(plda)
    arrays["plda_phi"] = original.phi
    for case, (seed, windows, speakers, noise, missing, bounds) in enumerate(CASES):
        masks, embeddings = scene(np.random.default_rng(seed), windows, speakers, noise, missing)
        inputs = {"masks": masks, "embeddings": embeddings, "bounds": as_array(bounds)}
        outputs = diarize(masks.astype(np.float32), embeddings, bounds, original)
        arrays |= {f"{case}_{name}": array for name, array in (inputs | outputs).items()}
    return arrays


def as_array(bounds: dict[str, int]) -> npt.NDArray[np.int64]:
    """num, min and max speakers; 0 for what is not given."""
    return np.array([bounds.get(f"{name}_speakers", 0) for name in ("num", "min", "max")])


# --- made-up recordings --------------------------------------------------------------------------


def plda_arrays(rng: np.random.Generator) -> Arrays:
    return {
        "mean1": 0.1 * rng.normal(size=DIMENSION),
        "mean2": 0.1 * rng.normal(size=REDUCED),
        "lda": rng.normal(size=(DIMENSION, REDUCED)).astype(np.float32),
        "mu": 0.1 * rng.normal(size=REDUCED),
        "tr": 6 * np.eye(REDUCED) + rng.normal(size=(REDUCED, REDUCED)),
        "psi": np.sort(rng.uniform(10.0, 60.0, REDUCED))[::-1].copy(),
    }


def scene(
    rng: np.random.Generator, windows: int, speakers: int, noise: float, missing: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Masks (W, FRAMES, 3) and embeddings (W, 3, DIMENSION) of people who take turns."""
    total = round((windows * STEP + WINDOW) / HOP) + FRAMES
    active = np.zeros((total, speakers), np.uint8)
    frame = 0
    while frame < total:
        length = int(rng.integers(20, 90))
        active[frame : frame + length, rng.integers(speakers)] = 1
        frame += int(rng.uniform(0.7, 1.3) * length)
    voices = rng.normal(size=(speakers, DIMENSION))
    masks = np.zeros((windows, FRAMES, 3), np.uint8)
    embeddings = rng.normal(size=(windows, 3, DIMENSION)) * noise
    for window in range(windows):
        seen = active[round(window * STEP / HOP) :][:FRAMES]
        most_active = np.argsort(-seen.sum(axis=0, dtype=int), kind="stable")[:3]
        order = rng.permutation(most_active)
        masks[window, :, : len(order)] = seen[:, order]
        embeddings[window, : len(order)] += voices[order]
    # At most two at once, and frames that some windows miss.
    masks[..., 2] &= masks[..., :2].sum(axis=2) < 2
    masks &= (rng.uniform(size=(windows, FRAMES // 5, 1)) > 0.1).repeat(5, axis=1)
    embeddings[rng.uniform(size=(windows, 3)) < missing] = np.nan
    # Few digits, for a small file.
    return masks, embeddings.astype(np.float16).astype(np.float32)


# --- the original --------------------------------------------------------------------------------


def original_plda(arrays: Arrays) -> Any:
    original = importlib.import_module("pyannote.audio.core.plda")
    with tempfile.TemporaryDirectory() as folder:
        transform, plda = Path(folder) / "xvec_transform.npz", Path(folder) / "plda.npz"
        np.savez(transform, **{name: arrays[name] for name in ("mean1", "mean2", "lda")})
        np.savez(plda, **{name: arrays[name] for name in ("mu", "tr", "psi")})
        return original.PLDA(transform, plda, lda_dimension=REDUCED)


class StableNumpy:
    """NumPy, with one sort that is stable everywhere."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def argsort(self, values: npt.NDArray[Any], axis: int = -1) -> npt.NDArray[np.int64]:
        return np.argsort(values, axis=axis, kind="stable")


def clusterings(plda: Any) -> dict[str, Any]:
    original = importlib.import_module("pyannote.audio.pipelines.clustering")
    ahc = original.AgglomerativeClustering()
    one_to_one = original.AgglomerativeClustering(constrained_assignment=True)
    for clustering in (ahc, one_to_one):
        clustering.method = "centroid"
        clustering.threshold = 0.7045654963945799
        clustering.min_cluster_size = 12
    vbx = original.VBxClustering(plda)
    vbx.threshold, vbx.Fa, vbx.Fb = 0.6, 0.07, 0.8
    return {"ahc": ahc, "one_to_one": one_to_one, "vbx": vbx}


def diarize(
    masks: npt.NDArray[np.float32],
    embeddings: npt.NDArray[np.float32],
    bounds: dict[str, int],
    plda: Any,
) -> Arrays:
    """What ``SpeakerDiarization.apply`` does behind its networks."""
    original = importlib.import_module("pyannote.audio.pipelines.speaker_diarization")
    core = importlib.import_module("pyannote.core")
    mixin = importlib.import_module("pyannote.audio.pipelines.utils.diarization")
    vars(mixin)["np"] = StableNumpy()
    pipeline = original.SpeakerDiarization.__new__(original.SpeakerDiarization)
    num, least, most = pipeline.set_num_speakers(**bounds)
    windows = core.SlidingWindow(duration=WINDOW / RATE_HZ, step=STEP / RATE_HZ, start=0.0)
    frames = core.SlidingWindow(duration=RECEPTIVE_FIELD / RATE_HZ, step=HOP / RATE_HZ, start=0.0)

    def segmentations() -> Any:
        return core.SlidingWindowFeature(masks.copy(), windows)

    count = pipeline.speaker_count(segmentations(), frames, warm_up=(0.0, 0.0))
    count.data = np.minimum(count.data, most).astype(np.int8)
    arrays: Arrays = {"count": count.data[:, 0]}
    for name, clustering in clusterings(plda).items():
        hard, _, centroids = clustering(
            embeddings=embeddings.copy(),
            segmentations=segmentations(),
            num_clusters=num,
            min_clusters=least,
            max_clusters=most,
        )
        hard[masks.sum(axis=1) == 0] = -2
        arrays |= {f"{name}_hard": hard.astype(np.int8), f"{name}_centroids": centroids}
        discrete = pipeline.reconstruct(segmentations(), hard, count)
        arrays[f"{name}_discrete"] = discrete.data.astype(np.uint8)
        if name == "vbx":
            arrays |= turns(pipeline, discrete)
    return arrays


def turns(pipeline: Any, discrete: Any) -> Arrays:
    """Turns as starts, ends and ranks of their labels, without and with pauses filled."""
    arrays: Arrays = {}
    for name, min_duration_off_s in (("turns", 0.0), ("filled", 0.25)):
        annotation = pipeline.to_annotation(discrete, 0.0, min_duration_off_s)
        ranks = {label: rank for rank, label in enumerate(annotation.labels())}
        tracks = annotation.itertracks(yield_label=True)
        rows = [(segment.start, segment.end, ranks[label]) for segment, _, label in tracks]
        arrays[name] = np.array(rows, np.float64).reshape(-1, 3)
    return arrays


if __name__ == "__main__":
    sys.exit(main())
