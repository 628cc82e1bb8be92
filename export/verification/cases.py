"""The inputs that verification runs: real speech and everything that breaks naive exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..networks import Networks

FloatArray = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

WINDOW_SAMPLES = 160000
WINDOW_FRAMES = 589
# Windows every two seconds: eleven in the 30 s sample. In batches of 4, 4 and 3: never the
# traced size.
_STEP_S = 2
_BATCH = 4


@dataclass(frozen=True)
class Turn:
    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True)
class Speech:
    """A recording with human turns: samples (N,) float32 at 16 kHz, and who spoke when."""

    samples: FloatArray
    sample_rate_hz: int
    turns: tuple[Turn, ...]

    def windows(self) -> FloatArray:
        """(W, 1, 160000) windows, every two seconds."""
        step = _STEP_S * self.sample_rate_hz
        starts = range(0, len(self.samples) - WINDOW_SAMPLES + 1, step)
        return np.stack([self.samples[start : start + WINDOW_SAMPLES] for start in starts])[:, None]

    def masks(self) -> FloatArray:
        """(W, speakers, 589) human masks of ``windows``, frames with overlap removed."""
        speakers = sorted({turn.speaker for turn in self.turns})
        num_windows = len(self.windows())
        masks = np.zeros((num_windows, len(speakers), WINDOW_FRAMES), np.float32)
        frame_s = WINDOW_SAMPLES / self.sample_rate_hz / WINDOW_FRAMES
        for window in range(num_windows):
            middles = window * _STEP_S + (np.arange(WINDOW_FRAMES) + 0.5) * frame_s
            for turn in self.turns:
                active = (middles >= turn.start_s) & (middles < turn.end_s)
                masks[window, speakers.index(turn.speaker), active] = 1
        overlap = masks.sum(axis=1) > 1
        masks.swapaxes(1, 2)[overlap] = 0
        return masks


@dataclass(frozen=True)
class Case:
    """Named inputs.

    ``decides``: decisions on this case are gated, not only its numbers. ``numbers``: numbers
    are; not on digital silence, where instance normalisation divides rounding noise by almost
    nothing, layer after layer: there the original in float32 is 0.1 from itself in float64.
    ``counted``: how many rows of the batch count, the others only fill it; None: all.
    """

    name: str
    inputs: Arrays
    decides: bool = False
    numbers: bool = True
    counted: int | None = None


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def full_scale_noise(batch: int, num_samples: int) -> FloatArray:
    """(B, 1, N) white noise that fills [-1, 1]."""
    return _rng(1).uniform(-1, 1, (batch, 1, num_samples)).astype(np.float32)


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, _BATCH):
        yield slice(start, min(start + _BATCH, count))


def _speech_cases(speech: Speech) -> list[Case]:
    windows = speech.windows()
    return [
        Case(f"speech {part.start}-{part.stop - 1}", {"waveform": windows[part]}, decides=True)
        for part in _batches(len(windows))
    ]


def _silence() -> Arrays:
    return {"waveform": np.zeros((1, 1, WINDOW_SAMPLES), np.float32)}


def _waveform_cases(speech: Speech, minimum: int, ragged: tuple[int, ...]) -> list[Case]:
    windows = speech.windows()
    cases = [
        Case("full-scale noise", {"waveform": full_scale_noise(2, WINDOW_SAMPLES)}),
        Case("constant offset", {"waveform": np.full((1, 1, 16000), 0.5, np.float32)}),
        Case("shortest", {"waveform": windows[:2, :, 40000 : 40000 + minimum].copy()}),
    ]
    for index, length in enumerate(ragged):
        batch = 1 + index % 3
        cases.append(Case(f"{length} samples", {"waveform": windows[:batch, :, :length].copy()}))
    return cases


def segmentation(networks: Networks, speech: Speech) -> list[Case]:
    """Speech, silence, noise, an offset, the shortest input and ragged lengths."""
    minimum = networks.segmentation.config.min_samples
    ragged = (16000, 48001, 80079, 159999)
    return [
        *_speech_cases(speech),
        Case("silence", _silence(), decides=True, numbers=False),
        *_waveform_cases(speech, minimum, ragged),
    ]


def segmentation_windows(networks: Networks, speech: Speech) -> list[Case]:
    """Speech with and without an offset, silence, noise, one window, windows in disorder."""
    config = networks.segmentation.config
    stride, length = config.sinc_stride, config.window_samples
    samples, step = speech.samples, _STEP_S * speech.sample_rate_hz
    regular = tuple(range(0, len(samples) - length + 1, step))
    half_silent = np.where(np.arange(len(samples)) < length + step, 0, samples)
    ragged = samples[: length + 16000 * stride // 10 + 7]
    disorder = (len(ragged) - length - 7, stride, 0, 3 * stride, stride)
    return [
        _windows("speech", samples, regular, decides=True),
        _windows("one window", samples[:length], (0,), decides=True),
        _windows("disorder", ragged, disorder, decides=True),
        _windows("speech with an offset", samples + np.float32(0.5), regular[:3]),
        _windows("full-scale noise", full_scale_noise(1, 2 * length)[0, 0], (length, 0)),
        _windows("silence", np.zeros(length, np.float32), (0,), decides=True, numbers=False),
        _windows("silence, then speech", half_silent, regular[:3], decides=True, numbers=False),
        _windows(
            "constant offset",
            np.full(length, 0.5, np.float32),
            (0, 0),
            decides=True,
            numbers=False,
        ),
    ]


def _windows(
    name: str,
    samples: FloatArray,
    starts: tuple[int, ...],
    *,
    decides: bool = False,
    numbers: bool = True,
) -> Case:
    inputs: Arrays = {
        "waveform": np.ascontiguousarray(samples[None, None], np.float32),
        "starts": np.array(starts, np.int64),
    }
    return Case(name, inputs, decides=decides, numbers=numbers)


def diarization_window(networks: Networks, speech: Speech) -> list[Case]:
    """As for segmentation; other lengths too, since nothing fixes the window's."""
    minimum = networks.segmentation.config.min_samples
    return [
        *_speech_cases(speech),
        Case("silence", _silence(), decides=True),
        *_waveform_cases(speech, minimum, (48001,)),
    ]


def fbank(_: Networks, speech: Speech) -> list[Case]:
    """Lengths around whole frames and hops."""
    lengths = (401, 559, 560, 561, 16000 + 79, 159999)
    return [
        *_speech_cases(speech),
        Case("silence", _silence()),
        *_waveform_cases(speech, 400, lengths),
    ]


def powerset(networks: Networks, _: Speech) -> list[Case]:
    """Random scores, all ties, and ties between the last classes."""
    config = networks.segmentation.config
    classes, window_frames = config.powerset.num_classes, config.num_frames(config.window_samples)
    scores = np.log(_rng(2).dirichlet(np.ones(classes), (3, 401))).astype(np.float32)
    whole = np.log(_rng(9).dirichlet(np.ones(classes), (2, window_frames))).astype(np.float32)
    whole[1, ::2] = -1.0
    ties = np.full((1, 7, classes), -1.0, np.float32)
    last = ties.copy()
    last[..., -2:] = 0.0
    return [
        Case("random", {"log_probs": scores}),
        Case("all tied", {"log_probs": ties}),
        Case("last two tied", {"log_probs": last}),
        Case("one frame", {"log_probs": scores[:1, :1]}),
        Case("whole windows, one with ties", {"log_probs": whole}),
    ]


def hard_masks(num_frames: int) -> FloatArray:
    """(7, F): zero, one frame, last frame, full, first half, every other frame, soft weights."""
    masks = np.zeros((7, num_frames), np.float32)
    masks[1, num_frames // 3] = 1
    masks[2, -1] = 1
    masks[3] = 1
    masks[4, : num_frames // 2] = 1
    masks[5, ::2] = 1
    masks[6] = _rng(3).random(num_frames)
    return masks


def _pair(name: str, waveform: FloatArray, masks: FloatArray, *, decides: bool = False) -> Case:
    inputs = {"waveform": np.ascontiguousarray(waveform), "masks": np.ascontiguousarray(masks)}
    return Case(name, inputs, decides=decides)


def embedding(_: Networks, speech: Speech) -> list[Case]:
    """Human masks on speech; then hard masks, other rates of masks, lengths and signals."""
    windows, masks = speech.windows(), speech.masks()
    hard = hard_masks(WINDOW_FRAMES)[None]
    overlap = np.ones((2, 3, WINDOW_FRAMES), np.float32)
    short = hard_masks(97)[None]
    return [
        *(
            _pair(f"speech {part.start}-{part.stop - 1}", windows[part], masks[part], decides=True)
            for part in _batches(len(windows))
        ),
        _pair("hard masks", windows[:1], hard),
        _pair("full overlap", windows[1:3], overlap),
        _pair("24240 samples", windows[:1, :, :24240], short),
        _pair("32400 samples", windows[:3, :, :32400], np.repeat(short[:, 3:5], 3, axis=0)),
        _pair("7000 samples", windows[:1, :, :7000], short[:, :, :40]),
        _pair("shortest", windows[:2, :, :400], np.ones((2, 1, 1), np.float32)),
        _pair("silence", np.zeros((1, 1, 48000), np.float32), short),
        _pair("full-scale noise", full_scale_noise(1, 48000), short),
        _pair("silent window", np.zeros((1, 1, WINDOW_SAMPLES), np.float32), hard),
        _pair("noisy window", full_scale_noise(1, WINDOW_SAMPLES), hard),
    ]


def embedding_inputs(_: Networks, speech: Speech) -> list[Case]:
    """Other batches, lengths and numbers of speakers; no, full and partial overlap."""
    windows = speech.windows()
    random = (_rng(4).random((3, 97, 4)) < 0.4).astype(np.float32)
    whole = (_rng(10).random((2, WINDOW_FRAMES, 3)) < 0.4).astype(np.float32)
    return [
        _pair("three windows", windows[:3, :, :32000], random),
        _pair("one speaker", windows[:1, :, :7000], random[:1, :, :1]),
        _pair("whole windows", windows[:2], whole),
        _pair("full overlap", windows[:1], np.ones((1, WINDOW_FRAMES, 3), np.float32)),
        _pair("no speech", windows[:1], np.zeros((1, WINDOW_FRAMES, 3), np.float32)),
    ]


def embedding_masks(networks: Networks, _: Speech) -> list[Case]:
    """From sparse to dense masks, no and full overlap, and clean frames around the minimum."""
    config = networks.segmentation.config
    frames, speakers = config.num_frames(config.window_samples), config.powerset.num_speakers
    density = _rng(11).random((8, 1, speakers)) ** 3
    random = (_rng(12).random((8, frames, speakers)) < density).astype(np.float32)
    # All together for a while, then the first one alone, by one frame more in each window.
    least = np.zeros((8, frames, speakers), np.float32)
    least[:, : frames // 4] = 1
    for alone, window in enumerate(least):
        window[frames // 2 : frames // 2 + alone, 0] = 1
    return [
        Case("random", {"masks": random}),
        Case("hardly any alone", {"masks": least}),
        Case("full overlap", {"masks": np.ones((1, frames, speakers), np.float32)}),
        Case("no speech", {"masks": np.zeros((3, frames, speakers), np.float32)}),
    ]


def _vectors(seed: int, rows: int, size: int) -> FloatArray:
    return _rng(seed).normal(size=(rows, size)).astype(np.float32)


def _distance_inputs() -> dict[str, tuple[FloatArray, FloatArray]]:
    a, b = _vectors(5, 4, 192), _vectors(6, 7, 192)
    zero = a.copy()
    zero[1] = 0
    return {
        "other sizes": (a[:, :64].copy(), b[:, :64].copy()),
        "zero vector": (zero, np.concatenate([b, zero])),
        "empty database": (a, b[:0]),
        "one against itself": (a[:1], a[:1]),
        "opposite and scaled": (a, np.concatenate([-a, 1e-20 * a, 1e15 * a])),
        "small vectors": (1e-3 * a, b),
    }


def cosine_distance(_: Networks, __: Speech) -> list[Case]:
    """Zero, opposite, tiny and huge vectors, an empty database, no embeddings."""
    inputs = {**_distance_inputs(), "no embeddings": (_vectors(7, 0, 192), _vectors(8, 3, 192))}
    return [Case(name, {"embeddings": a, "database": b}) for name, (a, b) in inputs.items()]


def post_embedding(_: Networks, __: Speech) -> list[Case]:
    """The distance cases with segments of short, long, bordering and no runs."""
    cases = []
    for seed, (name, (a, b)) in enumerate(_distance_inputs().items()):
        frames = (WINDOW_FRAMES, WINDOW_FRAMES, 60, 1, WINDOW_FRAMES, WINDOW_FRAMES)[seed]
        segments = _runs(seed, frames, len(a))
        inputs = {"embeddings": a, "database": b, "segments": segments}
        cases.append(Case(f"{name}, {frames} frames", inputs))
    return cases


def _runs(seed: int, num_frames: int, num_speakers: int) -> FloatArray:
    """(1, F, S) runs of random lengths around one second; the last speaker talks throughout."""
    rng = _rng(seed)
    segments = np.zeros((1, num_frames, num_speakers), np.float32)
    for speaker in range(num_speakers):
        frame = 0
        while frame < num_frames:
            on, off = int(rng.integers(1, 130)), int(rng.integers(1, 30))
            segments[0, frame : frame + on, speaker] = 1
            frame += on + off
    segments[..., -1] = 1
    return segments
