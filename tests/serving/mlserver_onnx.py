"""What MLServer runs for these tests: an ONNX file on ONNX Runtime, slowly where it is told to.

Imported by the server's process alone. ``parameters.extra`` of a model may hold ``delay_s``, which
every inference waits, and ``fits``, the largest batch for which there is memory.
"""

from __future__ import annotations

import asyncio

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

_DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}


class OnnxModel(MLModel):
    async def load(self) -> bool:
        parameters = self.settings.parameters
        self._extra = parameters.extra or {}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(self._extra.get("delay_s", 0))
        inputs = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        batch = max((len(array) for array in inputs.values()), default=0)
        if batch > self._extra.get("fits", batch):
            raise MemoryError("CUDA error: out of memory")
        names = [each.name for each in self._session.get_outputs()]
        arrays = await asyncio.to_thread(self._session.run, names, inputs)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(
                    name=name,
                    shape=list(array.shape),
                    datatype=_DATATYPES[array.dtype.name],
                    data=array.ravel().tolist(),
                )
                for name, array in zip(names, arrays, strict=True)
            ],
        )
