"""Which ops of a converted program belong to which torch module, and what follows from it.

coremltools keeps, for every op, the names and types of the torch modules that it was traced in.
Written as ``/trunk/head/conv1/``, they are what ONNX node names begin with, so that a spec's FP16
scopes, FP32 islands and INT8 scopes hold for both formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import ExportError
from ..specs import ExportSpec, Int8
from .tools import import_coremltools

# FP16 log-softmax underflows on real speech. Decoding compares the scores that are returned.
_FP32_OPS = frozenset({"softmax", "log"})
_FP32_SCOPES = ("/powerset/",)
# Below this many values a weight is not worth its scales.
_MIN_WEIGHT_SIZE = 1024
_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "weight_ih_back", "weight_hh_back")


Key = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class ModulePaths:
    """Where in a torch module an op comes from.

    The trace drops the names of lists and dictionaries of modules, so that ``conv1d.0`` and
    ``norm1d.0`` are both ``0``: the types of the modules tell them apart.
    """

    paths: Mapping[Key, str]

    @classmethod
    def of(cls, module: nn.Module) -> ModulePaths:
        """All paths within a module.

        Raises:
            ExportError: two of its modules cannot be told apart.
        """
        paths: dict[Key, str] = {((), ()): "/"}
        for key, path in _descendants(module, ((), ()), "/"):
            if key in paths:
                raise ExportError(f"{paths[key]} and {path} look alike in a trace")
            paths[key] = path
        return cls(paths)

    def path(self, op: Any) -> str:
        """The path of an op, as ``/outer/list.0/``; ``/`` if it belongs to no inner module."""
        source = import_coremltools("converters.mil.mil.scope").ScopeSource
        # The last entries are the op's own name and type.
        names = tuple(op.scopes.get(source.TORCHSCRIPT_MODULE_NAME, [])[:-1])
        types = tuple(op.scopes.get(source.TORCHSCRIPT_MODULE_TYPE, [])[:-1])
        # A module reached past its parent's ``forward`` (``trunk.project``) lacks the parent.
        return self.paths.get((names, types), "/".join(["", *names, ""]))


def _descendants(
    module: nn.Module, key: Key, path: str, containers: str = ""
) -> Iterator[tuple[Key, str]]:
    for name, child in module.named_children():
        if type(child).forward is nn.Module.forward:  # a container, which is never called
            yield from _descendants(child, key, path, f"{containers}{name}.")
            continue
        inner = ((*key[0], name), (*key[1], type(child).__name__))
        inner_path = f"{path}{containers}{name}/"
        yield inner, inner_path
        yield from _descendants(child, inner, inner_path)


def half_ops(spec: ExportSpec, paths: ModulePaths, program: Any) -> frozenset[str]:
    """Names of the ops of the FP32 program that compute in FP16 in the FP16 variant."""
    islands = (*spec.fp32_islands, *_FP32_SCOPES)

    def is_half(op: Any) -> bool:
        path = paths.path(op)
        island = op.op_type in _FP32_OPS or any(scope in path for scope in islands)
        return path.startswith(spec.half_scopes) and not island

    return frozenset(op.name for op in _operations(program) if is_half(op))


def eight_bit_weights(how: Int8, paths: ModulePaths, program: Any) -> frozenset[str]:
    """Names of the constants of the FP32 program that are stored in 8 bits."""
    return frozenset(
        weight.op.name
        for op in _operations(program)
        for weight in _weights(how, op, paths.path(op))
        if weight.val.size >= _MIN_WEIGHT_SIZE
    )


def _weights(how: Int8, op: Any, path: str) -> list[Any]:
    if op.op_type == "lstm" and how.lstm:
        return [op.inputs[name] for name in _LSTM_WEIGHTS if op.inputs.get(name) is not None]
    if op.op_type == "conv" and _in_scope(how, path):
        return [op.inputs["weight"]]
    return []


def _in_scope(how: Int8, path: str) -> bool:
    inside = any(scope in path for scope in how.weight_scopes)
    return inside and not any(island in path for island in how.weight_islands)


def _operations(program: Any) -> Iterator[Any]:
    for function in program.functions.values():
        for op in function.operations:
            if op.op_type != "const":
                yield op
