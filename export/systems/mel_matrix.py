"""``mel_matrix``: mel spectrograms of segments within segments, in librosa's conventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ...graphs.mel_matrix import MelMatrix, MelMatrixConfig
from ...runtime.manifest import TensorSpec
from .. import reference
from ..configuration import recorded
from ..networks import Networks
from ..specs import ExportSpec
from ..verification.cases import Arrays, Case, Speech
from ..verification.references import Independent

FloatArray = npt.NDArray[np.float32]
NAME = "mel_matrix"
_WINDOWS = 3


def mel_matrix_spec(config: MelMatrixConfig) -> ExportSpec:
    """FP32 only: FP16 resolves 4.9e-4 of a power, 2.1e-3 dB, and has none below 6e-8."""
    return ExportSpec(
        name=NAME,
        build=lambda _: MelMatrix(config),
        inputs=(TensorSpec("waveform", "float32", ("batch", config.num_samples)),),
        outputs=(TensorSpec("matrix", "float32", ("batch", *config.shape)),),
        kinds={"matrix": "power" if config.scale == "power" else "decibels"},
        traced={"batch": 2},
        cases=_cases(config),
        reference=MelMatrixReference(config),
        recipe=lambda _: recipe(config),
        max_nodes=30,
    )


def recipe(config: MelMatrixConfig) -> dict[str, Any]:
    """The configuration, and the sizes that follow from it."""
    return {
        **recorded(config),
        "sample_rate_hz": config.sample_rate,
        "window_samples": config.num_samples,
        "long_segments": config.long_segments,
        "long_segment_samples": config.long_segment_points,
        "short_segments": config.short_segments,
        "short_segment_samples": config.short_segment_points,
        "num_mel_bins": config.n_mels,
        "time_frames": config.time_frames,
        "hop_samples": config.hop_length,
    }


@dataclass(frozen=True)
class MelMatrixReference(Independent):
    """Every waveform for itself."""

    config: MelMatrixConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        rows = [reference.mel_matrix(row, self.config) for row in inputs["waveform"]]
        return {"matrix": np.stack(rows)}


def _cases(config: MelMatrixConfig) -> Callable[[Networks, Speech], list[Case]]:
    def cases(_: Networks, speech: Speech) -> list[Case]:
        """Speech at three levels, silence, noise, an offset, one click and full-scale tones."""
        spoken = _speech(speech, config)
        length = config.num_samples
        noise = np.random.default_rng(1).uniform(-1, 1, (2, length))
        click = np.zeros((1, length))
        click[0, length // 3] = 1
        turns = np.arange(length) * np.array([[0.05], [0.21]])
        waveforms = {
            "speech": spoken,
            "loud speech": 4 * spoken[:1],
            "quiet speech": 1e-3 * spoken[:1],
            "silence": np.zeros((1, length)),
            "full-scale noise": noise,
            "constant offset": np.full((1, length), 0.5),
            "click": click,
            "full-scale tones": np.sin(2 * np.pi * turns),
        }
        return [
            Case(name, {"waveform": values.astype(np.float32)}, decides="speech" in name)
            for name, values in waveforms.items()
        ]

    return cases


def _speech(speech: Speech, config: MelMatrixConfig) -> FloatArray:
    """(3, N) the recording at the graph's rate, repeated if it is too short."""
    resampled = soxr.resample(speech.samples, speech.sample_rate_hz, config.sample_rate)
    windows: FloatArray = np.resize(resampled, (_WINDOWS, config.num_samples)).astype(np.float32)
    return windows
