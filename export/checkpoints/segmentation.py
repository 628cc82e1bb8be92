"""Hyper-parameters of a PyanNet, read from its checkpoint.

Where the checkpoint states them (``hyper_parameters`` and ``specifications`` of pyannote.audio,
or safetensors metadata), the statement counts and the tensors must agree with it; else they are
read from the tensors' shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

from torch import Tensor

from ...graphs import PowersetConfig, SegmentationConfig
from ..errors import UnsupportedArchitectureError
from .content import Content, as_mapping
from .pickle_machine import StandIn
from .tensors import dimensions, numbered

_MONO_LABEL = 1  # pyannote.audio's Problem.MONO_LABEL_CLASSIFICATION
_FRAME = 1  # pyannote.audio's Resolution.FRAME
_FILTERBANK = "sincnet.conv1d.0.filterbank."
_LAYERED_LSTM = re.compile(r"lstm\.(\d+)\.(weight_ih|weight_hh|bias_ih|bias_hh)_l0(_reverse)?")
_MAX_SIZE = 1 << 16
_MAX_LAYERS = 64
_MAX_INFERRED_SPEAKERS = 6


@dataclass(frozen=True)
class PowersetRequest:
    """What the caller says about the classes; None where the file shall say it."""

    max_speakers: int | None = None
    max_simultaneous: int | None = None

    def allows(self, num_speakers: int, max_simultaneous: int) -> bool:
        return self.max_speakers in (None, num_speakers) and self.max_simultaneous in (
            None,
            max_simultaneous,
        )


def segmentation_config(content: Content, request: PowersetRequest) -> SegmentationConfig:
    """Read the configuration; the state must be in the monolithic layout.

    Raises UnsupportedArchitectureError (not a PyanNet, not a powerset, classes unknown), and
    MissingTensorError or TensorShapeError for a tensor that the configuration is read from.
    """
    if content.architecture not in (None, "PyanNet"):
        raise UnsupportedArchitectureError(
            f"{content.where}: a network of class {content.architecture:.100}; only PyanNet can be "
            "exported"
        )
    if not any(name.startswith("sincnet.") for name in content.state):
        raise UnsupportedArchitectureError(
            f"{content.where}: no tensor of a SincNet, so this is no PyanNet segmentation network"
        )
    stated = _Stated(content)
    specifications = _specifications(content)
    state, where = content.state, content.where
    bands, _ = dimensions(state, f"{_FILTERBANK}low_hz_", 2, where)
    (half_kernel,) = dimensions(state, f"{_FILTERBANK}window_", 1, where)
    classes, _ = dimensions(state, "classifier.weight", 2, where)
    if stated.number("", "num_channels", 1, _MAX_SIZE) != 1:
        raise UnsupportedArchitectureError(f"{where}: only one-channel networks can be exported")
    return SegmentationConfig(
        powerset=_powerset(content, specifications, classes, request),
        sample_rate_hz=stated.number("", "sample_rate", 16000, 1 << 20),
        window_s=_window_s(content, specifications),
        sinc_filters=2 * bands,
        sinc_kernel=2 * half_kernel + 1,
        sinc_stride=stated.number("sincnet", "stride", 10, _MAX_SIZE),
        conv_channels=dimensions(state, "sincnet.conv1d.1.weight", 3, where)[0],
        lstm_hidden=stated.number("lstm", "hidden_size", _lstm_hidden(content), _MAX_SIZE),
        lstm_layers=stated.number("lstm", "num_layers", _lstm_layers(state), _MAX_LAYERS),
        lstm_bidirectional=stated.flag("lstm", "bidirectional", _bidirectional(state)),
        linear_sizes=_linear_sizes(content, stated),
    )


def monolithic_lstm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename one-layer LSTMs in a list (``lstm.2.bias_ih_l0``) to one stack (``bias_ih_l2``)."""
    return {_monolithic_name(name): value for name, value in state.items()}


def _monolithic_name(name: str) -> str:
    match = _LAYERED_LSTM.fullmatch(name)
    if match is None:
        return name
    number, kind, direction = match.groups()
    return f"lstm.{kind}_l{number}{direction or ''}"


def _lstm_hidden(content: Content) -> int:
    return dimensions(content.state, "lstm.weight_hh_l0", 2, content.where)[1]


def _lstm_layers(state: Mapping[str, Tensor]) -> int:
    return max(1, numbered(state, "lstm.weight_ih_l", "_reverse", 0))


def _bidirectional(state: Mapping[str, Tensor]) -> bool:
    return any(name.endswith("_reverse") for name in state)


def _linear_sizes(content: Content, stated: _Stated) -> tuple[int, ...]:
    found = numbered(content.state, "linear.", ".", 0)
    layers = stated.number("linear", "num_layers", found, _MAX_LAYERS, least=0)
    if layers == 0:
        return ()
    if stated.has("linear", "hidden_size"):
        return (stated.number("linear", "hidden_size", 1, _MAX_SIZE),) * layers
    weights = (f"linear.{index}.weight" for index in range(layers))
    return tuple(dimensions(content.state, name, 2, content.where)[0] for name in weights)


class _Stated:
    """Hyper-parameters that the file states: pyannote.audio's, or safetensors metadata.

    Metadata names a group's value ``group.name``: ``sincnet.stride``.
    """

    def __init__(self, content: Content) -> None:
        self._content = content

    def _value(self, group: str, name: str) -> object:
        metadata = self._content.metadata.get(f"{group}.{name}" if group else name)
        if metadata is not None:
            return int(metadata) if metadata.isdecimal() else metadata
        hyper = self._content.hyper_parameters
        return (as_mapping(hyper.get(group)) if group else hyper).get(name)

    def has(self, group: str, name: str) -> bool:
        return self._value(group, name) is not None

    def number(self, group: str, name: str, default: int, most: int, least: int = 1) -> int:
        value = self._value(group, name)
        if value is None:
            return default
        if not isinstance(value, int) or not least <= value <= most:
            raise UnsupportedArchitectureError(
                f"{self._content.where}: {group} {name} is {value!r:.50}, expected a whole number "
                f"in {least}..{most}"
            )
        return value

    def flag(self, group: str, name: str, default: bool) -> bool:
        value = self._value(group, name)
        return value if isinstance(value, bool) else default


def _specifications(content: Content) -> Mapping[str, object] | None:
    """Fields of pyannote.audio's Specifications, None where the file has none."""
    if content.specifications is None:
        return None
    fields = as_mapping(content.specifications)
    if not fields:
        raise UnsupportedArchitectureError(
            f"{content.where}: its specifications describe several tasks or none; only networks "
            "trained for speaker diarization can be exported"
        )
    problem, resolution = _enum(fields.get("problem")), _enum(fields.get("resolution"))
    if problem not in (None, _MONO_LABEL) or fields.get("powerset_max_classes") is None:
        raise UnsupportedArchitectureError(
            f"{content.where}: a segmentation network with one output per class (multi-label), "
            "not per set of speakers (powerset); only powerset networks can be exported"
        )
    if resolution not in (None, _FRAME):
        raise UnsupportedArchitectureError(
            f"{content.where}: the network does not decide per frame"
        )
    return fields


def _enum(member: object) -> object:
    if isinstance(member, StandIn) and len(member.arguments) == 1:
        return member.arguments[0]
    return None


def _window_s(content: Content, specifications: Mapping[str, object] | None) -> float:
    stated = (specifications or {}).get("duration", content.metadata.get("window_s", 10.0))
    try:
        seconds = float(stated)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0.1 <= seconds <= 3600.0:
        raise UnsupportedArchitectureError(
            f"{content.where}: the window is {stated!r:.50}, expected 0.1 to 3600 seconds"
        )
    return seconds


def _powerset(
    content: Content,
    specifications: Mapping[str, object] | None,
    num_classes: int,
    request: PowersetRequest,
) -> PowersetConfig:
    pair = _stated_powerset(content, specifications)
    if pair is None and request.max_speakers and request.max_simultaneous:
        pair = (request.max_speakers, request.max_simultaneous)
    if pair is None:
        pair = _inferred_powerset(content.where, num_classes, request)
    speakers, simultaneous = pair
    if not request.allows(speakers, simultaneous):
        raise UnsupportedArchitectureError(
            f"{content.where}: the file says max_speakers={speakers}, max_simultaneous="
            f"{simultaneous}, which is not what was asked for ({request})"
        )
    needed = _count(speakers, simultaneous)
    if needed != num_classes:
        raise UnsupportedArchitectureError(
            f"{content.where}: {speakers} speakers, {simultaneous} at once, make {needed} classes, "
            f"but the classifier has {num_classes}"
        )
    return PowersetConfig(num_speakers=speakers, max_simultaneous=simultaneous)


def _count(speakers: int, simultaneous: int) -> int:
    """Number of classes; 0 for a pair that makes no sense or is too large to be a network's."""
    if not 1 <= simultaneous <= speakers <= _MAX_LAYERS:
        return 0
    return sum(comb(speakers, size) for size in range(simultaneous + 1))


def _stated_powerset(
    content: Content, specifications: Mapping[str, object] | None
) -> tuple[int, int] | None:
    if specifications is not None:
        classes, at_once = specifications.get("classes"), specifications["powerset_max_classes"]
        if isinstance(classes, (list, tuple)) and isinstance(at_once, int):
            return len(classes), at_once
        raise UnsupportedArchitectureError(f"{content.where}: its specifications list no classes")
    stated = [content.metadata.get(name, "") for name in ("max_speakers", "max_simultaneous")]
    if all(text.isdecimal() for text in stated):
        return int(stated[0]), int(stated[1])
    return None


def _inferred_powerset(where: str, num_classes: int, request: PowersetRequest) -> tuple[int, int]:
    """The only pair with that many classes, among 2 to 6 speakers of whom 2 or more at once.

    One at once is left out: it makes n + 1 classes, which fits any number (7 classes are taken
    for 3 speakers, 2 at once, as in every published network), and must be asked for.
    """
    least = request.max_simultaneous or 2
    fitting = [
        (speakers, simultaneous)
        for speakers in range(2, _MAX_INFERRED_SPEAKERS + 1)
        for simultaneous in range(least, speakers + 1)
        if _count(speakers, simultaneous) == num_classes and request.allows(speakers, simultaneous)
    ]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(f"{n} speakers with {k} at once" for n, k in fitting) or "none"
    raise UnsupportedArchitectureError(
        f"{where}: the file does not say which speakers its {num_classes} classes stand for "
        f"(fitting: {found}); give max_speakers and max_simultaneous"
    )
