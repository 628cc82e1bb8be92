"""Calls through buffers on a device that are allocated once for each shape and used again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from .inputs import Arrays

Shapes = tuple[tuple[int, ...], ...]
Allocate = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]

# Shapes whose buffers are kept: buckets are few, and what is left of others is let go.
_MAX_KEPT = 8


class BoundCalls:
    """Runs a session with inputs and outputs that live on a device.

    Inputs are copied into page-locked memory and from there to the card; outputs come back as
    fresh arrays, so that no call sees another one's. One call at a time may use a set of buffers;
    calls of other threads get sets of their own.
    """

    def __init__(
        self, ort: Any, session: Any, device: tuple[str, int], allocate: Allocate, graphs: bool
    ) -> None:
        """``device``: type and index as ONNX Runtime names them, such as ("cuda", 0);
        ``allocate``: gives host memory for inputs; ``graphs``: record CUDA graphs."""
        self._ort, self._session, self._device = ort, session, device
        self._allocate, self._graphs = allocate, graphs
        self._names = [value.name for value in session.get_outputs()]
        self._lock = threading.Lock()
        self._free: OrderedDict[Shapes, list[_Buffers]] = OrderedDict()
        self._made = 0
        # ONNX Runtime's sessions with CUDA graphs may be run from one thread only.
        self._thread = ThreadPoolExecutor(1, "voxport-graphs") if graphs else None

    def run(self, inputs: Arrays) -> Arrays:
        """Outputs by name; raises what ONNX Runtime raises."""
        if self._thread is not None:
            return self._thread.submit(self._run, inputs).result()
        return self._run(inputs)

    def _run(self, inputs: Arrays) -> Arrays:
        shapes = tuple(array.shape for array in inputs.values())
        try:
            buffers = self._take(shapes) or self._new(inputs)
            outputs = buffers.run(inputs)
        except Exception:
            # A card out of memory needs these more, and those of other shapes too.
            self.clear()
            raise
        self._give_back(shapes, buffers)
        return outputs

    def clear(self) -> None:
        """Let all buffers go that are not in use."""
        with self._lock:
            self._free.clear()

    def _take(self, shapes: Shapes) -> _Buffers | None:
        with self._lock:
            kept = self._free.get(shapes)
            return kept.pop() if kept else None

    def _give_back(self, shapes: Shapes, buffers: _Buffers) -> None:
        with self._lock:
            self._free.setdefault(shapes, []).append(buffers)
            self._free.move_to_end(shapes)
            while len(self._free) > _MAX_KEPT:
                self._free.popitem(last=False)

    def _new(self, inputs: Arrays) -> _Buffers:
        with self._lock:
            self._made += 1
            # Each set of buffers has addresses of its own, hence a recording of its own.
            graph_id = self._made if self._graphs else None
        return _Buffers(self, inputs, graph_id)


class _Buffers:
    """Memory on host and device for the inputs and outputs of one shape."""

    def __init__(self, owner: BoundCalls, inputs: Arrays, graph_id: int | None) -> None:
        self._owner, self._graph_id = owner, graph_id
        self._host = {n: owner._allocate(a.shape, a.dtype) for n, a in inputs.items()}
        self._inputs = {n: self._on_device(a.shape, a.dtype.type) for n, a in inputs.items()}
        self._outputs: dict[str, Any] = {}
        self._binding = owner._session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)

    def run(self, inputs: Arrays) -> Arrays:
        for name, array in inputs.items():
            np.copyto(self._host[name], array)
            self._inputs[name].update_inplace(self._host[name])
        if not self._outputs:
            return self._first_run()
        self._call(self._graph_id)
        # A copy to the host from a card; from the CPU's own memory a view, hence the array.
        return {name: np.array(value.numpy()) for name, value in self._outputs.items()}

    def _first_run(self) -> Arrays:
        """Learn the outputs' shapes, and allocate them on the device for the next run."""
        names = self._owner._names
        for name in names:
            self._binding.bind_output(name, "cpu")
        self._call(-1 if self._graph_id is not None else None)
        outputs = [value.numpy() for value in self._binding.get_outputs()]
        self._binding.clear_binding_outputs()
        for name, output in zip(names, outputs, strict=True):
            self._outputs[name] = self._on_device(output.shape, output.dtype.type)
            self._binding.bind_ortvalue_output(name, self._outputs[name])
        return dict(zip(names, outputs, strict=True))

    def _call(self, graph_id: int | None) -> None:
        options = None
        if graph_id is not None:
            options = self._owner._ort.RunOptions()
            # -1: run without recording or replaying.
            options.add_run_config_entry("gpu_graph_id", str(graph_id))
        self._owner._session.run_with_iobinding(self._binding, options)

    def _on_device(self, shape: tuple[int, ...], dtype: Any) -> Any:
        kind, index = self._owner._device
        return self._owner._ort.OrtValue.ortvalue_from_shape_and_type(
            list(shape), dtype, kind, index
        )
