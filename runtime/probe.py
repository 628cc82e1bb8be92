"""A question with a known answer: does what was loaded compute what was verified?

The answers of PyTorch to a synthetic input are kept in the manifest. A session that gives other
ones runs on a broken driver, provider or file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ArtifactError, DeviceError, InputError, VoxportError
from .inputs import Arrays
from .manifest import ArtifactRow
from .session import Session

FloatArray = npt.NDArray[np.float32]

_RATE_HZ = 16000
_HARMONICS = 24
# Values of an output that are kept, evenly spread over it.
_MAX_VALUES = 256
# Mean absolute difference relative to the answer's mean absolute value, by precision. Measured
# for the published artifacts: 2e-5 (the rounding of what is kept), 0.003, and 0.06 in 8 bits.
TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2, "w8": 0.2}


@dataclass(frozen=True)
class Answer:
    """A recorded output: its shape, and every ``probe_step``-th value of it in C order."""

    shape: tuple[int, ...]
    values: npt.NDArray[np.float64]


def probe_inputs(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """The synthetic inputs of these shapes, by name: the same on every machine."""
    return {name: _KINDS.get(name, _vectors)(shape) for name, shape in shapes.items()}


def probe_record(shapes: Mapping[str, tuple[int, ...]], outputs: Arrays) -> dict[str, Any]:
    """What a manifest keeps: the shapes of the inputs, and a sample of the outputs.

    Args:
        shapes: of the inputs that ``probe_inputs`` made.
        outputs: the answers of the reference.
    """
    return {
        "inputs": {name: list(shape) for name, shape in shapes.items()},
        "outputs": {
            name: {
                "shape": list(array.shape),
                "values": [float(f"{value:.5g}") for value in _sample(array)],
            }
            for name, array in outputs.items()
        },
    }


def probe_shapes(record: Mapping[str, Any], source: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs that a record asks for.

    Raises:
        ArtifactError: the record is damaged; ``source`` names its file.
    """
    shapes = record.get("inputs")
    if not isinstance(shapes, dict) or not all(map(_is_shape, shapes.values())):
        raise ArtifactError(f"{source}: its probe has no shapes of inputs")
    return {name: tuple(shape) for name, shape in shapes.items()}


def probe_error(record: Mapping[str, Any], outputs: Arrays, source: str) -> float:
    """How far outputs are from the recorded ones: the largest relative mean difference.

    Infinite for other names or shapes, and for values that are not finite.

    Raises:
        ArtifactError: the record is damaged; ``source`` names its file.
    """
    answers = probe_answers(record, source)
    if set(answers) != set(outputs):
        return float("inf")
    return max(_relative_error(answers[name], outputs[name], source) for name in answers)


def probe_answers(record: Mapping[str, Any], source: str) -> dict[str, Answer]:
    """The recorded answers by the name of the output.

    Raises:
        ArtifactError: the record is damaged; ``source`` names its file.
    """
    answers = record.get("outputs")
    if not isinstance(answers, dict) or not answers:
        raise ArtifactError(f"{source}: its probe has no answers")
    try:
        return {
            name: Answer(tuple(map(int, answer["shape"])), np.asarray(answer["values"], np.float64))
            for name, answer in answers.items()
        }
    except (TypeError, KeyError, ValueError) as error:
        raise ArtifactError(f"{source}: its probe has a damaged answer") from error


def probe_step(size: int) -> int:
    """Every how many values of an output of this size, in C order, one is kept."""
    return -(-max(1, size) // _MAX_VALUES)


def measure_probe(session: Session, row: ArtifactRow) -> float:
    """Ask a session its row's question: how far its answers are from the recorded ones.

    Raises:
        ArtifactError: the row has no probe, or a damaged one.
        VoxportError: the session failed on it.
    """
    if not row.probe:
        raise ArtifactError(
            f"{row.path}: has no probe, so that nothing tells whether it runs correctly here: "
            "run `voxport export` again"
        )
    inputs = probe_inputs(probe_shapes(row.probe, row.path))
    try:
        outputs = session.run(**inputs)
    except InputError as error:
        raise ArtifactError(f"{row.path}: its probe does not fit it: {error}") from error
    return probe_error(row.probe, outputs, row.path)


def check_probe(session: Session, row: ArtifactRow, advice: str = "") -> float:
    """``measure_probe`` for a session that must be right; it warms the session up as well.

    Args:
        session: what was loaded.
        row: the artifact that it should be.
        advice: how it runs and what to try instead, for the message of an error.

    Raises:
        ArtifactError: the row has no probe, or a damaged one.
        DeviceError: the session fails, or its answers are further off than ``TOLERANCES`` allows.
    """
    where = f"{row.name} {row.precision} on {session.device}"
    try:
        error = measure_probe(session, row)
    except ArtifactError:
        raise
    except VoxportError as failure:
        raise DeviceError(f"{where} failed its probe: {failure}. {advice}".rstrip()) from failure
    if not error <= tolerance(row):
        raise DeviceError(
            f"{where} gives wrong answers: its probe is off by {error:.3g}, and {row.precision} "
            f"allows {tolerance(row):g}. {advice}".rstrip()
        )
    return error


def tolerance(row: ArtifactRow) -> float:
    """The largest probe error of a row's precision.

    Raises:
        ArtifactError: a precision that has none.
    """
    if row.precision not in TOLERANCES:
        raise ArtifactError(
            f"{row.path}: {row.precision!r:.80} is not one of {tuple(TOLERANCES)}: no probe for it"
        )
    return TOLERANCES[row.precision]


def _relative_error(answer: Answer, output: npt.NDArray[Any], source: str) -> float:
    expected = answer.values
    if output.shape != answer.shape or not np.isfinite(output).all():
        return float("inf")
    found = _sample(output)
    if found.shape != expected.shape or not np.isfinite(expected).all():
        raise ArtifactError(f"{source}: its probe has a damaged answer")
    scale = np.abs(expected).mean() if expected.size else 0.0
    return float(np.abs(found - expected).mean() / max(scale, 1e-6)) if expected.size else 0.0


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int and size >= 1 for size in shape)


def _sample(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    flat: npt.NDArray[np.float64] = array.ravel().astype(np.float64)
    return flat[:: probe_step(flat.size)]


def _uniform(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Values in [0, 1) from a multiplicative hash of their positions: no generator to change."""
    positions = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)
    hashed = (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values: npt.NDArray[np.float64] = (hashed >> np.uint64(40)).astype(np.float64) / 2**24
    return values.reshape(shape)


def _vectors(shape: tuple[int, ...]) -> FloatArray:
    return (2 * _uniform(shape) - 1).astype(np.float32)


def _waveform(shape: tuple[int, ...]) -> FloatArray:
    """Two synthetic voices in turns, now and then together, in [-0.5, 0.5].

    Speech-like on purpose: on a mere buzz the segmentation network is so unstable that rounding
    to FP16 changes its answer by 6 %, here by 0.03 %.
    """
    time_s = np.arange(shape[-1]) / _RATE_HZ
    first = _voice(time_s, 115.0, (560.0, 1350.0, 2500.0)) * (time_s % 3.1 < 1.7)
    second = _voice(time_s, 205.0, (720.0, 1750.0, 2900.0)) * ((time_s + 1.2) % 2.9 < 1.4)
    mixture = first + second + 0.02 * (_uniform(shape) - 0.5)
    waveform: FloatArray = (0.5 * mixture / np.abs(mixture).max()).astype(np.float32)
    return waveform


def _voice(
    time_s: npt.NDArray[np.float64], pitch_hz: float, formants_hz: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """(N,) harmonics of a gliding pitch under moving formants, swelling with each syllable."""
    glide_hz = pitch_hz * (1 + 0.15 * np.sin(3.8 * time_s) + 0.04 * np.sin(29.5 * time_s))
    phase = 2 * np.pi * np.cumsum(glide_hz) / _RATE_HZ
    movement = 1 + 0.2 * np.sin(14.5 * time_s + pitch_hz)
    voice = np.zeros_like(time_s)
    for number in range(1, _HARMONICS + 1):
        resonance = sum(
            np.exp(-(((number * glide_hz - hz * movement) / 180.0) ** 2)) for hz in formants_hz
        )
        voice += (0.05 + resonance) / number**0.5 * np.sin(number * phase)
    swelling: npt.NDArray[np.float64] = voice * (0.55 + 0.45 * np.sin(24.5 * time_s))
    return swelling


def _masks(shape: tuple[int, ...]) -> FloatArray:
    """Speakers in turn, in eight stretches, the first one talking into the second's as well.

    Of the last two axes the longer one is taken for frames.
    """
    num_speakers, num_frames = sorted(shape[-2:])
    stretch = np.arange(num_frames) * 8 // num_frames
    speakers = np.arange(num_speakers)[:, None]
    active = (stretch % num_speakers == speakers) | ((speakers == 0) & (stretch == 1))
    plane = active if shape[-1] == num_frames else active.T
    return np.broadcast_to(plane, shape).astype(np.float32)


_KINDS: Mapping[str, Callable[[tuple[int, ...]], FloatArray]] = {
    "waveform": _waveform,
    "masks": _masks,
    "segments": _masks,
    "log_probs": lambda shape: (-5 * _uniform(shape)).astype(np.float32),
}
