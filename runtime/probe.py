"""A question with a known answer: does what was loaded compute what was verified?

The answers of PyTorch to a synthetic input are kept in the manifest. A session that gives other
ones runs on a broken driver, provider or file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ArtifactError, DeviceError, InputError, VoxportError
from .inputs import Arrays, check_shapes
from .manifest import ArtifactRow
from .session import Session
from .synthetic import probe_inputs

# More than any artifact needs; a damaged manifest must not exhaust the memory.
_MAX_INPUT_VALUES = 2**21
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
    if sum(math.prod(shape) for shape in shapes.values()) > _MAX_INPUT_VALUES:
        raise ArtifactError(f"{source}: its probe asks for more than {_MAX_INPUT_VALUES} values")
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
    except (TypeError, KeyError, ValueError, OverflowError) as error:
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
    shapes = probe_shapes(row.probe, row.path)
    try:
        check_shapes(session.description, shapes)
        outputs = session.run(**probe_inputs(shapes))
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
