"""Run a Core ML package through Apple's runtime: macOS only."""

from __future__ import annotations

import platform
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from .batching import BATCH, BatchPlan
from .coreml_tools import WARNINGS_LOCK, import_coremltools, quiet
from .devices import DevicePlan
from .errors import (
    ArtifactError,
    ArtifactNotFoundError,
    DeviceError,
    SessionClosedError,
    VoxportError,
)
from .inputs import Arrays
from .manifest import METADATA_KEY, Description, TensorSpec
from .options import ComputeUnits
from .package import package_sha256
from .session import Session

COMPUTE_UNITS: tuple[ComputeUnits, ...] = get_args(ComputeUnits)
# The default target of voxport's packages, iOS 17, is macOS 14.
OLDEST_MACOS = (14, 0)
_OLDEST_MACOS_WITH_PLANS = (14, 4)
# What Core ML calls the function of a package that has just one.
_MAIN = "main"
# Core ML's numbers of the manifest's dtypes (``ArrayFeatureType.ArrayDataType``).
_DTYPES = {65568: "float32", 131104: "int32"}


@dataclass(frozen=True)
class Platform:
    """An operating system as Python names it; ``macos`` is empty elsewhere."""

    system: str
    machine: str
    macos: tuple[int, ...]


def current_platform() -> Platform:
    """The operating system that this process runs on."""
    numbers = (part for part in platform.mac_ver()[0].split(".") if part.isdecimal())
    return Platform(platform.system(), platform.machine(), tuple(map(int, numbers)))


def require_macos() -> None:
    """Check that Core ML can be used on this machine, without importing anything.

    Raises:
        DeviceError: not macOS, or one that is too old; the message says what to do.
    """
    here = current_platform()
    if here.system != "Darwin":
        raise DeviceError(
            f"Core ML runs on macOS only, and this is {here.system or 'another system'}: use "
            "device='cpu', which runs the same networks, or check the packages anywhere with "
            "`voxport verify`"
        )
    if here.macos < OLDEST_MACOS:
        found, oldest = (".".join(map(str, v)) for v in (here.macos, OLDEST_MACOS))
        raise DeviceError(
            f"voxport's Core ML packages need macOS {oldest} or later, and this is macOS "
            f"{found}: use device='cpu'"
        )


COREML_PLAN = DevicePlan(
    "coreml", "coreml", "coreml", (), ("Core ML was named",), is_fallback=False, strict=True
)


class CoreMLSession(Session):
    """A Core ML package on the CPU, GPU and Neural Engine, as Core ML decides.

    ``compute_units`` is what it may choose from. Calls from several threads run one after the
    other.
    """

    def __init__(
        self,
        package: Path,
        *,
        compute_units: ComputeUnits = "all",
        plan: DevicePlan = COREML_PLAN,
    ) -> None:
        """Compile and load a package (a folder ``*.mlpackage``): seconds for a large network.

        Raises:
            DeviceError: not macOS, one that is too old, or Core ML refuses the package.
            MissingDependencyError: coremltools is not installed.
            ArtifactNotFoundError: there is no such folder.
            ArtifactError: not a readable package, not one of voxport's, or one whose inputs and
                outputs are not those that its metadata declares.
        """
        if compute_units not in COMPUTE_UNITS:
            raise DeviceError(
                f"compute_units must be one of {COMPUTE_UNITS}, got {compute_units!r:.80}"
            )
        require_macos()
        self._coremltools = import_coremltools()
        self._package = package
        self.compute_units = compute_units
        spec = _read_spec(self._coremltools, package)
        description = _description(spec, str(package))
        sizes = description.sizes.get(BATCH, (1,))
        super().__init__(
            description, plan, package_sha256(package), BatchPlan(max(sizes), tuple(sorted(sizes)))
        )
        self._functions = _functions(self.description)
        for function in self._functions.values():
            _check_signatures(spec, function, self.description, str(package))
        # Apple: "Use an MLModel instance on one thread or one dispatch queue at a time"
        # (developer.apple.com/documentation/coreml/mlmodel), and coremltools adds no lock.
        self._lock = threading.Lock()
        self._models: dict[str | None, Any] = {}
        # Others are loaded when a batch of their size comes.
        self._model(next(iter(self._functions.values())))

    @property
    def functions(self) -> tuple[str, ...]:
        """The package's functions; ``main`` where it has just one."""
        return tuple(function or _MAIN for function in self._functions.values())

    def _compute(self, inputs: Arrays) -> Arrays:
        function = self._functions[_batch_size(self.description, inputs)]
        with self._lock:
            if self._closed:  # while this call was waiting
                raise SessionClosedError("the session was closed")
            model = self._model(function)
            try:
                # A copy: coremltools writes into the dictionary.
                found = model.predict(dict(inputs))
            # It raises bare ``Exception`` as well as RuntimeError, ValueError and others.
            except Exception as error:
                raise VoxportError(f"Core ML: {error}") from error
        return {spec.name: _output(spec, found) for spec in self.description.outputs}

    def _release(self) -> None:
        with self._lock:
            self._models.clear()

    def _model(self, function: str | None) -> Any:
        """The loaded model of a function; the lock is held, except while constructing."""
        if function not in self._models:
            self._models[function] = _load(
                self._coremltools, self._package, self.compute_units, function
            )
        return self._models[function]


def placement(session: CoreMLSession) -> dict[str, dict[str, int]]:
    """How many operations Core ML means to run where, by function.

    Constants run nowhere and are not counted. This is Core ML's plan, not a measurement.

    Returns:
        For each function the number of operations on ``cpu``, ``gpu`` and ``neural engine``.

    Raises:
        DeviceError: it cannot be had: it needs macOS 14.4.
    """
    if current_platform().macos < _OLDEST_MACOS_WITH_PLANS:
        raise DeviceError("Core ML tells where operations run from macOS 14.4 on")
    with session._lock:
        return {
            function or _MAIN: _planned(session, function)
            for function in session._functions.values()
        }


def _read_spec(coremltools: Any, package: Path) -> Any:
    """The package's protobuf, without loading anything into Core ML."""
    if not package.is_dir():
        raise ArtifactNotFoundError(f"{package}: no such package; run `voxport export`")
    try:
        with quiet():
            return coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
    # Protobuf's, the file system's, coremltools' own bare ``Exception``: all say one thing here.
    except Exception as error:
        raise ArtifactError(f"{package}: coremltools cannot read it: {error}") from error


def _load(
    coremltools: Any, package: Path, compute_units: ComputeUnits, function: str | None
) -> Any:
    """A model that can predict."""
    with WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = coremltools.models.MLModel(
                str(package),
                compute_units=_compute_unit(coremltools, compute_units),
                function_name=function,
            )
            # Where Core ML refused, coremltools warns and returns a model that cannot predict:
            # it has no compiled path.
            model.get_compiled_model_path()
        except Exception as error:
            reasons = "; ".join(str(warning.message) for warning in caught)
            raise DeviceError(
                f"{package}: Core ML cannot load it with compute units {compute_units}: "
                f"{reasons or error} (packages for iOS 17 need macOS 14, for iOS 18 macOS 15). "
                "Try other compute units, or device='cpu'."
            ) from error
    return model


def _compute_unit(coremltools: Any, compute_units: ComputeUnits) -> Any:
    return getattr(coremltools.ComputeUnit, compute_units.upper())


def _description(spec: Any, source: str) -> Description:
    metadata: Mapping[str, str] = spec.description.metadata.userDefined
    if METADATA_KEY not in metadata:
        raise ArtifactError(f"{source}: has no voxport metadata; was it exported by voxport?")
    return Description.from_json(metadata[METADATA_KEY], source)


def _functions(description: Description) -> dict[int | None, str | None]:
    """The function of each batch size; a package with one has neither sizes nor names."""
    sizes = description.sizes.get(BATCH, ())
    if len(sizes) <= 1:
        return {None: None}
    return {size: f"batch_{size}" for size in sizes}


def _batch_size(description: Description, inputs: Arrays) -> int | None:
    if len(description.sizes.get(BATCH, ())) <= 1:
        return None
    spec = next(spec for spec in description.inputs if BATCH in spec.axes)
    size: int = inputs[spec.name].shape[spec.axes.index(BATCH)]
    return size


def _check_signatures(
    spec: Any, function: str | None, description: Description, source: str
) -> None:
    """A function's inputs and outputs must have the declared names and dtypes."""
    functions = {each.name: each for each in spec.description.functions}
    if function is not None and function not in functions:
        there = ", ".join(sorted(functions)) or "none"
        raise ArtifactError(f"{source}: has no function {function}; there are: {there}")
    features = spec.description if function is None else functions[function]
    for kind, declared, found in (
        ("inputs", description.inputs, features.input),
        ("outputs", description.outputs, features.output),
    ):
        expected = {tensor.name: tensor.dtype for tensor in declared}
        actual = {feature.name: _dtype(feature) for feature in found}
        if expected != actual:
            one, other = (_listed(names) for names in (expected, actual))
            raise ArtifactError(f"{source}: declares the {kind} {one}, but has {other}")


def _dtype(feature: Any) -> str:
    number = feature.type.multiArrayType.dataType
    return _DTYPES.get(number, f"type {number}")


def _listed(dtypes: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {dtype}" for name, dtype in dtypes.items()) or "none"


def _output(spec: TensorSpec, found: Mapping[str, Any]) -> npt.NDArray[Any]:
    """An output as a contiguous array of its own: Core ML may use its memory again."""
    if spec.name not in found:
        raise VoxportError(f"Core ML gave no {spec.name}, only {', '.join(sorted(found))}")
    value = np.asarray(found[spec.name])
    fits = value.ndim == len(spec.axes) and all(
        isinstance(axis, str) or axis == size
        for axis, size in zip(spec.axes, value.shape, strict=True)
    )
    if not fits or not np.can_cast(value.dtype, spec.dtype, "same_kind"):
        raise VoxportError(f"Core ML gave {value.dtype}{list(value.shape)} for {spec}")
    return np.array(value, spec.dtype, order="C")


def _planned(session: CoreMLSession, function: str | None) -> dict[str, int]:
    """Operations of a function by device."""
    coremltools, model = session._coremltools, session._model(function)
    plans, devices = coremltools.models.compute_plan, coremltools.models.compute_device
    kinds = {
        devices.MLCPUComputeDevice: "cpu",
        devices.MLGPUComputeDevice: "gpu",
        devices.MLNeuralEngineComputeDevice: "neural engine",
    }
    try:
        plan = plans.MLComputePlan.load_from_path(
            model.get_compiled_model_path(),
            compute_units=_compute_unit(coremltools, session.compute_units),
        )
        block = plan.model_structure.program.functions[function or _MAIN].block
        usages = [
            plan.get_compute_device_usage_for_mlprogram_operation(operation)
            for operation in _operations(block)
        ]
    # As above: bare exceptions, KeyError, AttributeError where the model is no program.
    except Exception as error:
        raise DeviceError(f"Core ML does not tell where operations run: {error}") from error
    counts = Counter(
        kinds.get(type(usage.preferred_compute_device), "other")
        for usage in usages
        if usage is not None
    )
    return {kind: counts[kind] for kind in (*kinds.values(), "other") if counts[kind]}


def _operations(block: Any) -> Iterator[Any]:
    """A block's operations, those of nested blocks included."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)
