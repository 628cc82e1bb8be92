"""A coremltools that "runs" packages anywhere, and a Mac to run it on.

It has what the runtime uses of the real one, with its signatures and its habits: what it takes,
what it raises, that it writes into what it is given. ``test_coreml_session`` compares the two.
A package is a folder with a description and a matrix; its program is y = x @ matrix.
"""

from __future__ import annotations

import enum
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_artifacts
from voxport.runtime import (
    ArtifactRow,
    Description,
    Manifest,
    TensorSpec,
    coreml_session,
    loading,
)
from voxport.runtime.coreml_session import Platform
from voxport.runtime.environment import Environment, probe_environment
from voxport.runtime.manifest import MANIFEST_NAME, METADATA_KEY
from voxport.runtime.package import package_sha256, package_size
from voxport.runtime.probe import probe_record
from voxport.runtime.synthetic import probe_inputs

MAC = Platform("Darwin", "arm64", (14, 5))
_NUMBERS = {"float32": 65568, "int32": 131104, "float16": 65552}


class ComputeUnit(enum.Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


class MLCPUComputeDevice:
    pass


class MLGPUComputeDevice:
    pass


class MLNeuralEngineComputeDevice:
    pass


@dataclass
class Behaviour:
    """What the fake does; by default what it should.

    ``scale`` multiplies outputs; ``wrong_units`` limits that to some compute units. ``renamed``
    is what the output is called instead of ``y``. ``loads`` and ``calls`` record what was asked.
    """

    refuses: str = ""
    raises: Exception | None = None
    scale: float = 1.0
    wrong_units: tuple[ComputeUnit, ...] = tuple(ComputeUnit)
    renamed: str = "y"
    dtype: type = np.float32
    nan: bool = False
    flat: bool = False
    wait_s: float = 0.0
    plan_fails: bool = False
    loads: list[tuple[str, str, str | None]] = field(default_factory=list)
    calls: list[str | None] = field(default_factory=list)
    busy: bool = False
    overlapped: bool = False


def package(path: Path, described: Description, matrix: npt.NDArray[np.float32]) -> Path:
    """A package on disk. One of several batch sizes has a function for each."""
    (path / "Data").mkdir(parents=True)
    (path / "Data" / "description.json").write_text(described.to_json(), encoding="utf-8")
    np.save(path / "Data" / "matrix.npy", matrix)
    (path / "Manifest.json").write_text("{}", encoding="utf-8")
    return path


def linear(precision: str = "fp32", name: str = "linear") -> Description:
    """The description of tiny_artifacts.linear: (rows, 3) -> (rows, 2)."""
    return tiny_artifacts.linear(name, precision)[0]


def batched(precision: str = "fp32") -> Description:
    """Two functions, for batches of 1 and 4: (batch, 3) -> (batch, 2)."""
    described = tiny_artifacts.description(
        "batched",
        [TensorSpec("x", "float32", ("batch", 3))],
        [TensorSpec("y", "float32", ("batch", 2))],
    )
    return replace(described, precision=precision, sizes={"batch": (1, 4)})


def coreml_row(folder: Path, described: Description, rows: int = 4) -> ArtifactRow:
    """Write a package into a models folder; its row, with the probe's true answer."""
    path = folder / f"{described.name}.{described.precision}.mlpackage"
    package(path, described, tiny_artifacts.WEIGHT)
    inputs = probe_inputs({"x": (rows, 3)})
    return ArtifactRow(
        description=described,
        format="coreml",
        path=path.name,
        sha256=package_sha256(path),
        size_bytes=package_size(path),
        target="iOS17",
        ops={"matmul": 1},
        tools={},
        gates=(),
        probe=probe_record({"x": (rows, 3)}, {"y": inputs["x"] @ tiny_artifacts.WEIGHT}),
        verified_on="a test",
    )


def onnx_row(folder: Path, precision: str = "fp32") -> ArtifactRow:
    """Write ``linear`` as ONNX into a models folder."""
    described, content = tiny_artifacts.linear(precision=precision)
    row = tiny_artifacts.row(described, content)
    (folder / row.path).write_bytes(content)
    return row


def write_manifest(folder: Path, rows: Sequence[ArtifactRow]) -> Path:
    text = Manifest(tuple(rows)).to_json()
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return folder


def install(monkeypatch: pytest.MonkeyPatch, platform: Platform = MAC) -> Behaviour:
    """Put the fake in coremltools' place, on a machine of this kind."""
    behaviour = Behaviour()
    own = {"behaviour": behaviour}
    module: Any = ModuleType("coremltools")
    module.__spec__ = ModuleSpec("coremltools", None)
    module.ComputeUnit = ComputeUnit
    module.models = SimpleNamespace(
        MLModel=type("MLModel", (FakeModel,), own),
        compute_plan=SimpleNamespace(MLComputePlan=type("MLComputePlan", (FakePlan,), own)),
        compute_device=SimpleNamespace(
            MLCPUComputeDevice=MLCPUComputeDevice,
            MLGPUComputeDevice=MLGPUComputeDevice,
            MLNeuralEngineComputeDevice=MLNeuralEngineComputeDevice,
        ),
    )
    monkeypatch.setitem(sys.modules, "coremltools", module)
    set_platform(monkeypatch, platform)
    return behaviour


def set_platform(monkeypatch: pytest.MonkeyPatch, platform: Platform) -> None:
    monkeypatch.setattr(coreml_session, "current_platform", lambda: platform)
    monkeypatch.setattr(loading, "known_environment", lambda: _environment(platform))


def _environment(platform: Platform) -> Environment:
    """This machine as if it were of that kind; coremltools is there unless a test hides it."""
    return replace(
        probe_environment(),
        system=platform.system,
        machine=platform.machine,
        macos_version=".".join(map(str, platform.macos)) or None,
        coremltools_version="9.0" if sys.modules.get("coremltools") else None,
    )


def _feature(tensor: TensorSpec) -> SimpleNamespace:
    array = SimpleNamespace(dataType=_NUMBERS[tensor.dtype])
    return SimpleNamespace(name=tensor.name, type=SimpleNamespace(multiArrayType=array))


def _spec(path: Path) -> SimpleNamespace:
    """The protobuf of a package, as far as it is read.

    ``signature.json`` stands for a program whose inputs are not those that its metadata declares.
    """
    metadata = (path / "Data" / "description.json").read_text(encoding="utf-8")
    actual = path / "Data" / "signature.json"
    text = actual.read_text(encoding="utf-8") if actual.exists() else metadata
    try:
        described = Description.from_json(text, "the fake")
    except Exception:  # a metadata that is none: the program is linear all the same
        described = linear()
    features = {
        "input": [_feature(tensor) for tensor in described.inputs],
        "output": [_feature(tensor) for tensor in described.outputs],
    }
    sizes = described.sizes.get("batch", ())
    functions = [SimpleNamespace(name=f"batch_{size}", **features) for size in sizes]
    return SimpleNamespace(
        description=SimpleNamespace(
            metadata=SimpleNamespace(userDefined={METADATA_KEY: metadata} if metadata else {}),
            functions=functions if len(sizes) > 1 else [],
            **features,
        )
    )


class FakeModel:
    """``MLModel``."""

    behaviour: Behaviour

    def __init__(
        self,
        model: str,
        skip_model_load: bool = False,
        compute_units: ComputeUnit = ComputeUnit.ALL,
        function_name: str | None = None,
    ) -> None:
        if not isinstance(compute_units, ComputeUnit):
            raise TypeError('"compute_units" must be of type: coremltools.ComputeUnit')
        self._path = Path(model)
        self._spec = _spec(self._path)
        self._names = {feature.name for feature in self._spec.description.input}
        self.compute_unit = compute_units
        self.function_name = function_name
        if function_name is not None and not self._spec.description.functions:
            raise ValueError('function_name must be "main" for non multifunction model')
        self._loaded = not skip_model_load and not self.behaviour.refuses
        if not skip_model_load:
            self.behaviour.loads.append((self._path.name, compute_units.name, function_name))
            if self.behaviour.refuses:
                warnings.warn(
                    "You will not be able to run predict() on this Core ML model. "
                    f"Underlying exception message was: {self.behaviour.refuses}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def get_spec(self) -> SimpleNamespace:
        return self._spec

    def get_compiled_model_path(self) -> str:
        if not self._loaded:
            raise Exception("This model was not loaded or compiled")  # noqa: TRY002
        return str(self._path)

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        assert type(data) is dict
        assert self._loaded
        assert set(data) == self._names
        self.behaviour.overlapped |= self.behaviour.busy
        self.behaviour.busy = True
        self.behaviour.calls.append(self.function_name)
        try:
            time.sleep(self.behaviour.wait_s)
            return self._answer(data)
        finally:
            self.behaviour.busy = False

    def _answer(self, data: dict[str, Any]) -> dict[str, Any]:
        x = data.pop("x")
        if self.behaviour.raises is not None:
            raise self.behaviour.raises
        matrix = np.load(self._path / "Data" / "matrix.npy")
        answer = x @ matrix
        if self.compute_unit in self.behaviour.wrong_units:
            answer = answer * self.behaviour.scale
        if self.behaviour.nan:
            answer[0] = np.nan
        if self.behaviour.flat:
            answer = answer.ravel()
        # As Core ML does: in its own layout.
        return {self.behaviour.renamed: np.asfortranarray(answer.astype(self.behaviour.dtype))}


@dataclass
class Operation:
    operator_name: str
    device: type | None
    blocks: Sequence[Any] = ()


@dataclass
class Block:
    operations: Sequence[Operation]


_INNER = Block([Operation("ios17.add", MLCPUComputeDevice)])
_BLOCK = Block(
    [
        Operation("const", None),
        Operation("ios17.matmul", MLNeuralEngineComputeDevice),
        Operation("ios17.relu", MLNeuralEngineComputeDevice),
        Operation("cond", MLGPUComputeDevice, [_INNER]),
    ]
)


class FakePlan:
    """``MLComputePlan``."""

    behaviour: Behaviour

    def __init__(self, functions: Sequence[str]) -> None:
        each = {name: SimpleNamespace(block=_BLOCK) for name in functions}
        self.model_structure = SimpleNamespace(program=SimpleNamespace(functions=each))

    @classmethod
    def load_from_path(cls, path: str, compute_units: ComputeUnit = ComputeUnit.ALL) -> FakePlan:
        assert isinstance(compute_units, ComputeUnit)
        if cls.behaviour.plan_fails:
            raise ValueError("MLComputePlan is not supported.")
        text = (Path(path) / "Data" / "description.json").read_text(encoding="utf-8")
        sizes = json.loads(text)["sizes"].get("batch", [])
        return cls([f"batch_{size}" for size in sizes] if len(sizes) > 1 else ["main"])

    def get_compute_device_usage_for_mlprogram_operation(
        self, operation: Operation
    ) -> SimpleNamespace | None:
        if operation.device is None:
            return None
        device = operation.device()
        return SimpleNamespace(preferred_compute_device=device, supported_compute_devices=[device])
