"""Machines to decide about, without having them: one ``Environment`` for each."""

from __future__ import annotations

from dataclasses import replace

from voxport.runtime.cuda import Card, Cuda, Library
from voxport.runtime.environment import Environment, OnnxRuntime

GIB = 2**30
CPU_PROVIDERS = ("AzureExecutionProvider", "CPUExecutionProvider")
GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
MAC_PROVIDERS = ("CoreMLExecutionProvider", "CPUExecutionProvider")

CPU_WHEEL = OnnxRuntime((("onnxruntime", "1.31.1"),), "1.31.1", CPU_PROVIDERS)
GPU_WHEEL = OnnxRuntime((("onnxruntime-gpu", "1.31.1"),), "1.31.1", GPU_PROVIDERS, "13.0")
BOTH_WHEELS = OnnxRuntime(
    (("onnxruntime", "1.31.1"), ("onnxruntime-gpu", "1.31.1")), "1.31.1", CPU_PROVIDERS
)
MAC_WHEEL = OnnxRuntime((("onnxruntime", "1.31.1"),), "1.31.1", MAC_PROVIDERS)
NO_WHEEL = OnnxRuntime(problem="No module named 'onnxruntime'")
BROKEN_WHEEL = OnnxRuntime(
    (("onnxruntime", "1.31.1"),), problem="DLL load failed while importing the binding"
)

CUDA_13 = (
    *("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", "libcurand.so.10"),
    "libcudnn.so.9",
)
WINDOWS_CUDA_13 = ("cublasLt64_13.dll", "cublas64_13.dll", "cudart64_13.dll", "cudnn64_9.dll")
TENSORRT_10 = ("libnvinfer.so.10", "libnvonnxparser.so.10")
WINDOWS_TENSORRT_10 = ("nvinfer_10.dll", "nvonnxparser_10.dll")

NO_CARD = Cuda(problem="NVIDIA's driver library libcuda.so.1 cannot be loaded")
H200 = Card(0, "NVIDIA H200", 140 * GIB)
L4 = Card(1, "NVIDIA L4", 22 * GIB)


def libraries(found: tuple[str, ...], missing: tuple[str, ...]) -> tuple[Library, ...]:
    return (
        *(Library(name, "system") for name in found),
        *(Library(name, None) for name in missing),
    )


READY = libraries(CUDA_13, TENSORRT_10)
ONE_CARD = Cuda((H200,), "13.0", None, READY)
# As probed beside a wheel without CUDA: nothing is known of CUDA's libraries.
BARE_CARD = Cuda((H200,), "13.0")

LINUX = Environment("Linux", "x86_64", onnxruntime=CPU_WHEEL, cuda=NO_CARD)
_GPU = replace(LINUX, onnxruntime=GPU_WHEEL, cuda=ONE_CARD)
_MAC = Environment("Darwin", "arm64", "15.1", MAC_WHEEL, Cuda(), "9.0")
_WINDOWS = replace(LINUX, system="Windows", machine="AMD64")
_WINDOWS_LIBRARIES = libraries(WINDOWS_CUDA_13, WINDOWS_TENSORRT_10)

ENVIRONMENTS = {
    "linux": LINUX,
    "linux, no ORT": replace(LINUX, onnxruntime=NO_WHEEL),
    "linux, broken ORT": replace(LINUX, onnxruntime=BROKEN_WHEEL),
    "linux, gpu wheel": replace(LINUX, onnxruntime=GPU_WHEEL),
    "linux, both wheels": replace(LINUX, onnxruntime=BOTH_WHEELS),
    "card": _GPU,
    "card, no ORT": replace(_GPU, onnxruntime=NO_WHEEL, cuda=BARE_CARD),
    "card, cpu wheel": replace(_GPU, onnxruntime=CPU_WHEEL, cuda=BARE_CARD),
    "card, both wheels": replace(_GPU, onnxruntime=BOTH_WHEELS, cuda=BARE_CARD),
    "card, no cuDNN": replace(
        _GPU,
        cuda=replace(ONE_CARD, libraries=libraries(CUDA_13[:-1], ("libcudnn.so.9", *TENSORRT_10))),
    ),
    "card, old driver": replace(_GPU, cuda=replace(ONE_CARD, driver_version="12.8")),
    "card, hidden": replace(
        _GPU,
        cuda=replace(ONE_CARD, problem="no CUDA-capable device (CUDA_VISIBLE_DEVICES is '')"),
    ),
    "card, libraries unknown": replace(_GPU, cuda=Cuda((H200,))),
    "card, TensorRT": replace(
        _GPU, cuda=replace(ONE_CARD, libraries=libraries(CUDA_13 + TENSORRT_10, ()))
    ),
    "two cards": replace(_GPU, cuda=replace(ONE_CARD, cards=(H200, L4))),
    "apple": _MAC,
    "apple, no coremltools": replace(_MAC, coremltools_version=None),
    "apple, no ORT": replace(_MAC, onnxruntime=NO_WHEEL),
    "apple, macOS 13": replace(_MAC, macos_version="13.6.1"),
    "intel mac": replace(_MAC, machine="x86_64"),
    "windows": _WINDOWS,
    "windows, card": replace(
        _WINDOWS,
        onnxruntime=GPU_WHEEL,
        cuda=replace(ONE_CARD, libraries=_WINDOWS_LIBRARIES),
    ),
}
