"""What a configuration says, and that a wrong one is caught when it is read back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_artifacts
from google.protobuf.json_format import MessageToDict
from voxport.export.errors import ExportError
from voxport.export.triton.check import check_model, full_dims
from voxport.export.triton.config import Serving, has_leading_batch, model_config
from voxport.export.triton.messages import import_messages, parsed, to_text
from voxport.runtime import ArtifactRow, Description, Manifest, MissingDependencyError, TensorSpec
from voxport.runtime.batching import CPU_BATCH_SIZE, CUDA_BATCH_SIZES
from voxport.runtime.devices import cuda_options
from voxport.runtime.environment import Environment
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.options import DEFAULT_OPTIONS
from voxport.runtime.serving.metadata import Config, check_tensors
from voxport.runtime.serving.names import DESCRIPTION_PARAMETER, SHA256_PARAMETER, model_name

Mutate = Callable[[Any], None]


def row_of(models: Path, name: str, precision: str = "fp32") -> ArtifactRow:
    return Manifest.read(models / MANIFEST_NAME).find(name, precision)


def config_of(models: Path, name: str, serving: Serving | None = None) -> Any:
    return model_config(row_of(models, name), serving or Serving())


def parameters(config: Any) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def _described(*axes: tuple[str | int, ...]) -> Description:
    first, *others = (TensorSpec(f"t{i}", "float32", each) for i, each in enumerate(axes))
    return tiny_artifacts.description("x", [first], others)


@pytest.mark.parametrize(
    ("axes", "batched"),
    [
        ((("batch", 1, "samples"), ("batch", "frames", 3)), True),
        ((("batch", 3), ("frames", "batch")), False),
        ((("batch", 3), ("frames", 3)), False),
        ((("batch", 3), ("batch",)), False),
        ((("batch", 3), ("batch", "batch")), False),
        ((("rows", 3), ("rows", 2)), False),
    ],
)
def test_requests_share_a_batch_where_everything_begins_with_one(
    axes: tuple[tuple[str | int, ...], ...], batched: bool
) -> None:
    assert has_leading_batch(_described(*axes)) is batched


def test_names_of_models() -> None:
    assert model_name("segmentation_masks", "fp32") == "segmentation_masks"
    assert model_name("segmentation_masks", "fp16") == "segmentation_masks_fp16"


def test_a_network_on_cards(all_models: Path) -> None:
    config = config_of(all_models, "segmentation_masks")
    assert (config.name, config.backend) == ("segmentation_masks", "onnxruntime")
    assert config.version_policy.latest.num_versions == 1
    assert [(each.name, list(each.dims)) for each in config.input] == [("waveform", [1, -1])]
    assert [(each.name, list(each.dims)) for each in config.output] == [
        ("log_probs", [-1, 7]),
        ("masks", [-1, 3]),
    ]
    assert config.input[0].data_type == import_messages().TYPE_FP32
    sizes = sorted(size for _, size in CUDA_BATCH_SIZES)
    assert config.max_batch_size == sizes[-1]
    assert list(config.dynamic_batching.preferred_batch_size) == sizes
    assert config.dynamic_batching.max_queue_delay_microseconds == 5000
    (group,) = config.instance_group
    assert (group.kind, group.count) == (import_messages().ModelInstanceGroup.KIND_GPU, 1)


def test_cuda_options_are_the_runtimes(all_models: Path) -> None:
    config = config_of(all_models, "segmentation_masks")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    expected = cuda_options(0, Environment("Linux", "x86_64"), DEFAULT_OPTIONS)
    assert {"device_id": "0", **accelerator.parameters} == expected
    # The backend's own numbers for the same, which override the accelerator's.
    told = parameters(config)
    assert expected["cudnn_conv_algo_search"] == "HEURISTIC"
    assert told["cudnn_conv_algo_search"] == "1"
    assert expected["arena_extend_strategy"] == "kNextPowerOfTwo"
    assert told["arena_extend_strategy"] == "0"
    assert "gpu_mem_limit" not in expected  # nor here: no limit is the backend's default too


def test_a_network_on_the_cpu(all_models: Path) -> None:
    config = config_of(all_models, "segmentation_masks", Serving("cpu", instances=2))
    (group,) = config.instance_group
    assert (group.kind, group.count) == (import_messages().ModelInstanceGroup.KIND_CPU, 2)
    assert config.max_batch_size == CPU_BATCH_SIZE
    assert not config.HasField("optimization")
    assert parameters(config)["enable_mem_pattern"] == "0"
    assert [each.batch_size for each in config.model_warmup] == [1, CPU_BATCH_SIZE]


def test_warm_up_requests_are_whole_windows_of_zeros(all_models: Path) -> None:
    config = config_of(all_models, "embedding_campplus")
    assert [each.batch_size for each in config.model_warmup] == [1, 8, 16, 32, 64]
    for request in config.model_warmup:
        shapes = {name: list(value.dims) for name, value in request.inputs.items()}
        assert shapes == {"waveform": [1, 160000], "masks": [3, 589]}
        assert all(value.zero_data for value in request.inputs.values())


def test_what_has_no_batch_axis_is_not_batched(all_models: Path) -> None:
    config = config_of(all_models, "segmentation_windows")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [(each.name, list(each.dims)) for each in config.input] == [
        ("waveform", [1, 1, -1]),
        ("starts", [-1]),
    ]
    assert config.input[1].data_type == import_messages().TYPE_INT64
    (request,) = config.model_warmup
    assert (request.batch_size, list(request.inputs["waveform"].dims)[:2]) == (1, [1, 1])


def test_requests_that_would_change_each_other_share_no_batch(all_models: Path) -> None:
    row = row_of(all_models, "segmentation_masks", "int8")
    config = model_config(row, Serving())
    assert "DynamicQuantizeLSTM" in row.ops
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 1, -1]  # batches of one request are welcome
    dims = [list(each.inputs["waveform"].dims) for each in config.model_warmup]
    assert dims == [[size, 1, 16000] for size in (1, 8, 16, 32, 64)]
    assert {each.batch_size for each in config.model_warmup} == {1}
    content = (all_models / row.path).read_bytes()
    check_model(to_text(config), content, row, "config.pbtxt")
    # Were its operators not known, its answers would tell.
    unknown = replace(row, ops={})
    text = to_text(model_config(unknown, Serving()))
    with pytest.raises(ExportError, match=r"change each other's answers: .* of log_p"):
        check_model(text, content, unknown, "config.pbtxt")


def test_a_server_shows_which_artifact_it_serves(all_models: Path) -> None:
    row = row_of(all_models, "embedding_campplus", "fp16")
    config = parsed(to_text(model_config(row, Serving())), "config.pbtxt")
    assert config.name == "embedding_campplus_fp16"
    told = parameters(config)
    assert told[SHA256_PARAMETER] == row.sha256
    assert Description.from_json(told[DESCRIPTION_PARAMETER], "server") == row.description


@pytest.mark.parametrize(
    ("name", "precision", "most"),
    [
        ("segmentation_masks", "fp32", 64),
        ("segmentation_masks", "int8", None),
        ("embedding_masks", "fp32", 64),
        ("cosine_distance", "fp32", None),
        ("segmentation_windows", "fp32", None),
    ],
)
def test_clients_find_what_they_look_for(
    all_models: Path, name: str, precision: str, most: int | None
) -> None:
    """What Triton would tell of the model, in the client's own checks."""
    row = row_of(all_models, name, precision)
    config = model_config(row, Serving())
    told = Config.of(MessageToDict(config, preserving_proto_field_name=True))
    assert (told.max_batch_size, told.sha256) == (most, row.sha256)
    told.check(row, "server")
    tensors = {
        kind: [
            {
                "name": tensor.name,
                "datatype": import_messages().DataType.Name(tensor.data_type)[len("TYPE_") :],
                "shape": list(full_dims(config, tensor)),
            }
            for tensor in declared
        ]
        for kind, declared in (("inputs", config.input), ("outputs", config.output))
    }
    check_tensors(row, tensors, "server")


# Read back: mutations


def _free_a_size(config: Any) -> None:
    config.output[0].dims[1] = -1


def _fix_a_size(config: Any) -> None:
    config.input[0].dims[1] = 16000


def _wrong_size(config: Any) -> None:
    config.output[1].dims[1] = 4


def _one_axis_more(config: Any) -> None:
    config.input[0].dims.append(1)


def _whole_numbers(config: Any) -> None:
    config.input[0].data_type = import_messages().TYPE_INT32


def _another_name(config: Any) -> None:
    config.output[1].name = "mask"


def _one_output_less(config: Any) -> None:
    del config.output[1]


def _no_batch_axis(config: Any) -> None:
    config.max_batch_size = 0


def _another_hash(config: Any) -> None:
    config.parameters[SHA256_PARAMETER].string_value = "0" * 64


def _another_description(config: Any) -> None:
    config.parameters[DESCRIPTION_PARAMETER].string_value = "{}"


def _short_warm_up(config: Any) -> None:
    config.model_warmup[0].inputs["waveform"].dims[1] = 10


def _warm_up_without_input(config: Any) -> None:
    del config.model_warmup[0].inputs["waveform"]


@pytest.mark.parametrize(
    ("mutate", "told"),
    [
        (None, None),
        (_free_a_size, r"config.pbtxt: declares \[\('log_probs'"),
        (_fix_a_size, r"declares \[\('waveform', \(-1, 1, 16000\)\)\], but the artifact has"),
        (_wrong_size, "declares .*masks"),
        (_one_axis_more, "declares .*waveform"),
        (_whole_numbers, r"declares waveform as type 8 .* but the artifact has float32"),
        (_another_name, "'mask'"),
        (_one_output_less, "but the artifact has .*masks"),
        (_no_batch_axis, "declares .*waveform"),
        (_another_hash, "tell of another artifact than segmentation_masks.fp32.onnx"),
        (_another_description, "tell of another artifact"),
        (_short_warm_up, "its artifact does not take that"),
        (_warm_up_without_input, r"declares \['waveform'\], but the artifact has \[\]"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    all_models: Path, mutate: Mutate | None, told: str | None
) -> None:
    row = row_of(all_models, "segmentation_masks")
    config = model_config(row, Serving())
    content = (all_models / row.path).read_bytes()
    if mutate is None:
        check_model(to_text(config), content, row, "config.pbtxt")
        return
    mutate(config)
    with pytest.raises(ExportError, match=told):
        check_model(to_text(config), content, row, "config.pbtxt")


def test_a_batch_where_there_is_none_is_refused(all_models: Path) -> None:
    row = row_of(all_models, "cosine_distance")
    config = model_config(row, Serving())
    config.max_batch_size = 8
    for tensor in (*config.input, *config.output):
        del tensor.dims[0]
    content = (all_models / row.path).read_bytes()
    # The shapes fit, the artifact's axes do: what does not is that its rows are no requests.
    with pytest.raises(ExportError, match="no batch axis"):
        check_model(to_text(config), content, row, "config.pbtxt")


def test_a_text_that_is_no_configuration_is_refused() -> None:
    with pytest.raises(ExportError, match=r"a/config.pbtxt: is not a model configuration: 1:1"):
        parsed("nonsense: 1", "a/config.pbtxt")


def test_another_file_than_the_manifest_describes_is_refused(all_models: Path) -> None:
    row = row_of(all_models, "segmentation")
    other = replace(row, description=replace(row.description, recipe={"hop_samples": 1}))
    text = to_text(model_config(other, Serving()))
    content = (all_models / row.path).read_bytes()
    with pytest.raises(ExportError, match="is not what the manifest describes"):
        check_model(text, content, other, "config.pbtxt")


def test_without_tritonclient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voxport\[serving\]'"):
        import_messages()
