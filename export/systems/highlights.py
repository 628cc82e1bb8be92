"""Highlights of a stream: the graphs, what they are judged by, and what the runtime is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...graphs.highlights import (
    MIN_RELATIVE_DEVIATION,
    FrameRms,
    Highlights,
    HighlightsConfig,
    HighlightScore,
)
from ...runtime.manifest import TensorSpec
from ..configuration import recorded
from ..reference import highlights as reference
from ..specs import WAVEFORM, ExportSpec, OutputKind
from ..verification.cases import Arrays, Case, FloatArray, Speech, full_scale_noise
from ..verification.references import Independent

if TYPE_CHECKING:
    from ..networks import Networks

_USUAL_S = 10
# Three hours in hops of 10 ms.
_LONG_FRAMES = 3 * 3600 * 100


def recipe(config: HighlightsConfig) -> dict[str, Any]:
    """The configuration in samples and frames; ``window_*`` are sizes that go together."""
    window_samples = _USUAL_S * config.sample_rate_hz
    return {
        **recorded(config),
        "sample_rate_hz": config.sample_rate_hz,
        "frame_samples": config.frame_samples,
        "hop_samples": config.hop_samples,
        "chat_frames": config.chat_frames,
        "min_relative_deviation": MIN_RELATIVE_DEVIATION,
        "window_samples": window_samples,
        "window_frames": config.num_frames(window_samples),
    }


@dataclass(frozen=True)
class RmsReference(Independent):
    config: HighlightsConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        sizes = self.config.frame_samples, self.config.hop_samples
        rows = [reference.frame_rms(row[0], *sizes) for row in inputs["waveform"]]
        return {"rms": np.stack(rows)}


@dataclass(frozen=True)
class ScoreReference(Independent):
    config: HighlightsConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        rows = [self._row(*row) for row in zip(inputs["rms"], inputs["chat"], strict=True)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, rms: npt.NDArray[Any], chat: npt.NDArray[Any]) -> Arrays:
        config = self.config
        z = reference.z_scores(rms, MIN_RELATIVE_DEVIATION)
        smoothed = reference.moving_average(chat, config.chat_frames)
        activity = reference.z_scores(smoothed, MIN_RELATIVE_DEVIATION)
        score = config.loudness_weight * z + config.chat_weight * activity
        return {
            "z": z,
            "peak_mask": (z > config.peak_threshold).astype(np.float64),
            "chat_smoothed": smoothed,
            "score": score,
            "highlight_mask": (score > config.score_threshold).astype(np.float64),
        }


@dataclass(frozen=True)
class HighlightsReference(Independent):
    config: HighlightsConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        rms = RmsReference(self.config)(networks, inputs)
        scores = ScoreReference(self.config)(networks, {**rms, "chat": inputs["chat"]})
        return {**rms, **scores}


def _chat(seed: int, num_frames: int) -> FloatArray:
    """(T,) messages per frame: now and then one, and a rush in the middle."""
    rng = np.random.default_rng(seed)
    rate = np.full(num_frames, 0.2)
    rate[num_frames // 2 : num_frames // 2 + 1 + num_frames // 20] = 5.0
    return rng.poisson(rate).astype(np.float32)


def _bursts(seed: int, num_samples: int) -> FloatArray:
    """(N,) full-scale noise for half a second, near silence for two, and so on."""
    noise = full_scale_noise(1, num_samples)[0, 0]
    loud = (np.arange(num_samples) + 4000 * seed) % 40000 < 8000
    bursts: FloatArray = np.where(loud, noise, np.float32(1e-3) * noise)
    return bursts


def _fade_in(num_samples: int) -> FloatArray:
    """(N,) noise that grows to full scale."""
    envelope = np.linspace(0.05, 1, num_samples, dtype=np.float32)
    faded: FloatArray = full_scale_noise(1, num_samples)[0, 0] * envelope
    return faded


def _waveforms(config: HighlightsConfig, speech: Speech) -> dict[str, FloatArray]:
    """(B, 1, N) by name: speech, bursts, silence, an offset, one frame and ragged lengths.

    Nothing that varies by a few percent only, such as steady noise: there the rounding of RMS
    alone moves its z-score by more than 1e-5.
    """
    samples, frame, hop = speech.samples, config.frame_samples, config.hop_samples
    ragged = (frame + 1, frame + hop - 1, frame + hop, 5 * frame + 7 * hop + 3)
    return {
        "speech": samples[None, None],
        "two windows of speech": speech.windows()[:2],
        "bursts": np.stack([_bursts(seed, 200000)[None] for seed in (0, 1)]),
        "silence": np.zeros((1, 1, 160000), np.float32),
        "constant offset": np.full((1, 1, 48000), 0.5, np.float32),
        "one frame": samples[None, None, 8000 : 8000 + frame],
        **{f"{n} samples": _fade_in(n)[None, None] for n in ragged},
    }


def rms_cases(config: HighlightsConfig, speech: Speech) -> list[Case]:
    """Any signal: speech, noise, silence, an offset, one frame and ragged lengths."""
    waveforms = {**_waveforms(config, speech), "full-scale noise": full_scale_noise(3, 77777)}
    return [
        Case(name, {"waveform": np.ascontiguousarray(waveform)}, decides=True)
        for name, waveform in waveforms.items()
    ]


def highlights_cases(config: HighlightsConfig, speech: Speech) -> list[Case]:
    """Signals with and without a chat."""
    cases = []
    for seed, (name, waveform) in enumerate(_waveforms(config, speech).items()):
        num_frames = config.num_frames(waveform.shape[-1])
        chats = [_chat(seed + row, num_frames) * (seed % 3 != 1) for row in range(len(waveform))]
        inputs = {"waveform": np.ascontiguousarray(waveform), "chat": np.stack(chats)}
        cases.append(Case(name, inputs, decides=True))
    return cases


def score_cases(_: HighlightsConfig, __: Speech) -> list[Case]:
    """Levels of every kind, up to three hours of them, and with hardly any variation.

    Of the longest the numbers count, not each of a million decisions: one score next to a
    threshold is to be expected.
    """
    rng = np.random.default_rng(0)
    long = rng.lognormal(-3, 0.5, _LONG_FRAMES)
    steady = 0.5 + 1e-3 * rng.standard_normal(_LONG_FRAMES // 10)
    short = rng.lognormal(-3, 0.5, (2, 997))
    return [
        _levels("three hours", long[None], 1),
        _levels("levels that hardly vary", steady[None], 2),
        _levels("two streams", short, 3, decides=True),
        _levels("around one block", short[:, :129], 4, decides=True),
        _levels("without chat", short[:1], None, decides=True),
        _levels("silence with chat", np.zeros((1, 600)), 5, decides=True),
        _levels("constant", np.full((1, 4321), 0.1), None, decides=True),
        _levels("one frame", short[:1, :1], 6, decides=True),
        _levels("two frames", short[:1, :2], None, decides=True),
    ]


def _levels(
    name: str, rms: npt.NDArray[np.float64], seed: int | None, *, decides: bool = False
) -> Case:
    rows, num_frames = rms.shape
    chat = np.zeros((rows, num_frames), np.float32)
    if seed is not None:
        chat = np.stack([_chat(seed + row, num_frames) for row in range(rows)])
    return Case(name, {"rms": rms.astype(np.float32), "chat": chat}, decides=decides)


_SCORES: dict[str, OutputKind] = {
    "z": "scores",
    "peak_mask": "masks",
    "chat_smoothed": "scores",
    "score": "scores",
    "highlight_mask": "masks",
}


def _per_frame(name: str) -> TensorSpec:
    return TensorSpec(name, "float32", ("batch", "frames"))


def highlights_specs(chosen: HighlightsConfig) -> list[ExportSpec]:
    """A stream at once, and its two stages for streams that are longer than memory or live.

    FP32 only: three hours need all of its digits.
    """
    window_samples = _USUAL_S * chosen.sample_rate_hz
    samples = {"batch": 2, "samples": window_samples}
    frames = {"batch": 2, "frames": chosen.num_frames(window_samples)}
    scores = tuple(map(_per_frame, _SCORES))
    return [
        ExportSpec(
            name="highlights",
            build=lambda _: Highlights(chosen),
            inputs=(WAVEFORM, _per_frame("chat")),
            outputs=(_per_frame("rms"), *scores),
            kinds={"rms": "levels", **_SCORES},
            traced={**samples, **frames},
            cases=lambda _, speech: highlights_cases(chosen, speech),
            reference=HighlightsReference(chosen),
            recipe=lambda _: recipe(chosen),
            max_nodes=58,
            minimums={"samples": chosen.frame_samples},
        ),
        ExportSpec(
            name="highlights_rms",
            build=lambda _: FrameRms(chosen),
            inputs=(WAVEFORM,),
            outputs=(_per_frame("rms"),),
            kinds={"rms": "levels"},
            traced=samples,
            cases=lambda _, speech: rms_cases(chosen, speech),
            reference=RmsReference(chosen),
            recipe=lambda _: recipe(chosen),
            max_nodes=8,
            minimums={"samples": chosen.frame_samples},
        ),
        ExportSpec(
            name="highlights_score",
            build=lambda _: HighlightScore(chosen),
            inputs=(_per_frame("rms"), _per_frame("chat")),
            outputs=scores,
            kinds=_SCORES,
            traced=frames,
            cases=lambda _, speech: score_cases(chosen, speech),
            reference=ScoreReference(chosen),
            recipe=lambda _: recipe(chosen),
            max_nodes=52,
        ),
    ]
