"""Every spec becomes a package of the declared structure, in every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.coreml.convert import (
    Converted,
    convert,
    precisions,
    to_precision,
    write_package,
)
from voxport.export.coreml.package import MEANINGS, read_model, weights_folder
from voxport.export.coreml.structure import problems, read_structure
from voxport.export.coreml.tools import import_coremltools
from voxport.export.errors import ExportError
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.specs import ExportSpec
from voxport.runtime.package import package_sha256

NAMES = (
    "segmentation",
    "segmentation_masks",
    "powerset",
    "fbank_campplus",
    "fbank_wespeaker",
    "embedding_campplus",
    "embedding_wespeaker",
    "embedding_inputs",
    "embedding_masks",
    "cosine_distance",
    "post_embedding",
    "diarization_window",
    "mel_matrix",
    "vggish_frontend",
    "vggish",
    "highlights",
    "highlights_rms",
    "highlights_score",
)


def _ops(text: str) -> dict[str, int]:
    """``"conv 3, abs"`` -> conv three times, abs once."""
    pairs = [item.split() for item in text.split(",")]
    return {name: int(count[0]) if count else 1 for name, *count in pairs}


SEGMENTATION = (
    "instance_norm 4, conv 3, max_pool 3, abs, leaky_relu 5, transpose 2, lstm 2, linear 3, "
    "softmax, log"
)
DECODING = "reduce_argmax, greater_equal, add, select, gather"
FBANK = "reduce_mean, sub, conv, split, mul 2, add, matmul, clip, log, transpose"
LEVELS = "mul, avg_pool 3, sqrt, squeeze"
SCORES = (
    "avg_pool 12, pad 12, real_div 4, reduce_sum 4, squeeze 3, cast 2, expand_dims 2, greater 2, "
    "mul 2, sub 2, abs, add, clip, concat, conv, fill_like, maximum, split, sqrt"
)
HISTOGRAMS = {
    "highlights_rms": _ops(LEVELS),
    "highlights_score": _ops(SCORES),
    "mel_matrix": _ops("reshape 4, mul 2, add, conv, matmul, pad, split, transpose"),
    "segmentation": _ops(SEGMENTATION),
    "segmentation_masks": _ops(f"{SEGMENTATION}, {DECODING}"),
    "powerset": _ops(DECODING),
    "fbank_campplus": _ops(FBANK),
    "fbank_wespeaker": _ops(FBANK),
    "embedding_inputs": _ops("reduce_sum, less, cast, mul, tile, reshape 2, transpose"),
    "embedding_masks": _ops(
        "reduce_sum 2, less, cast, mul 2, sub, greater_equal, select, tile, transpose"
    ),
    "cosine_distance": _ops(
        "abs 2, reduce_max 2, clip 4, real_div 4, mul 2, reduce_sum 2, sqrt 2, matmul, sub"
    ),
    "post_embedding": _ops(
        "reduce_sum 3, squeeze, greater, transpose 2, pad 2, mul 5, max_pool 2, cast, abs 2, "
        "reduce_max 2, clip 4, real_div 4, sqrt 2, matmul, sub"
    ),
}


def test_every_spec_is_tested_here(small_specs: dict[str, ExportSpec]) -> None:
    assert set(small_specs) == set(NAMES)


def test_every_tensor_has_a_meaning(small_specs: dict[str, ExportSpec]) -> None:
    tensors = {
        f"{spec.name}/{t.name}" if f"{spec.name}/{t.name}" in MEANINGS else t.name
        for spec in small_specs.values()
        for t in (*spec.inputs, *spec.outputs)
    }
    assert tensors == set(MEANINGS)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_is_what_was_declared(
    name: str, converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    reference = converted[name]
    for precision in precisions(reference.spec):
        description = CoreMLFormat().describe(reference.spec, precision, small_networks)
        path = tmp_path / f"{precision}.mlpackage"
        write_package(to_precision(reference, precision), description, path)
        assert problems(reference.spec, description, "iOS17", path) == []
        assert read_structure(path).functions["main"].slices == ()
        model = import_coremltools().models.MLModel(str(path), skip_model_load=True)
        assert model.author == "voxport"
        assert set(model.input_description) == {t.name for t in reference.spec.inputs}


@pytest.mark.parametrize("name", sorted(HISTOGRAMS))
def test_op_histogram(
    name: str, converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    write_package(
        converted[name],
        CoreMLFormat().describe(converted[name].spec, "fp32", small_networks),
        tmp_path / "m",
    )
    assert read_structure(tmp_path / "m").ops == HISTOGRAMS[name]


def test_the_same_bytes_every_time(
    small_specs: dict[str, ExportSpec], small_networks: Networks, tmp_path: Path
) -> None:
    spec = small_specs["segmentation"]
    hashes = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        reference = convert(spec, evaluation_mode(spec.build, small_networks))
        for precision in precisions(spec):
            description = CoreMLFormat().describe(spec, precision, small_networks)
            write_package(to_precision(reference, precision), description, folder / precision)
        hashes.append([package_sha256(folder / each) for each in precisions(spec)])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3


def test_functions_share_their_weights(
    small_specs: dict[str, ExportSpec], small_networks: Networks, tmp_path: Path
) -> None:
    spec = small_specs["segmentation_masks"]
    reference = convert(spec, evaluation_mode(spec.build, small_networks), "iOS18")
    single = convert(spec, evaluation_mode(spec.build, small_networks), "iOS17")
    description = CoreMLFormat("iOS18").describe(spec, "w8", small_networks)
    assert description.sizes == {"batch": (1, 32), "samples": (16000,)}
    write_package(to_precision(reference, "w8"), description, tmp_path / "two")
    write_package(to_precision(single, "w8"), description, tmp_path / "one")
    assert problems(spec, description, "iOS18", tmp_path / "two") == []
    structure = read_structure(tmp_path / "two")
    assert list(structure.functions) == ["batch_1", "batch_32"]
    shapes = [function.inputs[0].shape for function in structure.functions.values()]
    assert shapes == [(1, 1, 16000), (32, 1, 16000)]
    sizes = [
        (weights_folder(tmp_path / name) / "weight.bin").stat().st_size for name in ("two", "one")
    ]
    assert sizes[0] < 1.1 * sizes[1]


def test_small_graphs_take_any_number_of_speakers(
    converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    spec = converted["cosine_distance"].spec
    write_package(
        converted["cosine_distance"],
        CoreMLFormat().describe(spec, "fp32", small_networks),
        tmp_path / "m",
    )
    embeddings, database = read_structure(tmp_path / "m").functions["main"].inputs
    assert [(each.low, each.high) for each in embeddings.ranges] == [(1, 64), (1, 1024)]
    assert [(each.low, each.high) for each in database.ranges] == [(1, 4096), (1, 1024)]


def test_metadata(
    converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    spec = converted["embedding_campplus"].spec
    description = CoreMLFormat().describe(spec, "fp32", small_networks)
    write_package(converted["embedding_campplus"], description, tmp_path / "m")
    described = read_model(tmp_path / "m").description
    texts = [feature.shortDescription for feature in (*described.input, *described.output)]
    assert texts == [
        "mono audio in [-1, 1]; float32 (batch 1, 1, samples 16000)",
        "1 where a speaker is active, else 0; float32 (batch 1, speakers 3, frames 58)",
        "speaker embeddings, not L2-normalised; float32 (batch 1, speakers 3, 24)",
    ]
    assert described.metadata.license == "MIT"
    assert "campplus: seeded, a seed" in described.metadata.userDefined["voxport.checkpoints"]
    assert not any("date" in key for key in described.metadata.userDefined)


def test_a_variant_that_the_spec_lacks(converted: dict[str, Converted]) -> None:
    with pytest.raises(ExportError, match="powerset has no fp16 variant"):
        to_precision(converted["powerset"], "fp16")


def test_a_failed_conversion_is_a_typed_error(
    small_specs: dict[str, ExportSpec], small_networks: Networks
) -> None:
    class Unconvertible(torch.nn.Module):
        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(waveform)

    spec = small_specs["fbank_campplus"]
    with pytest.raises(ExportError, match="fbank_campplus: coremltools failed"):
        convert(spec, Unconvertible().eval())


def test_nothing_is_overwritten(
    converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    description = CoreMLFormat().describe(converted["powerset"].spec, "fp32", small_networks)
    with pytest.raises(FileExistsError):
        write_package(converted["powerset"], description, tmp_path)
    assert not np.any(list(tmp_path.iterdir()))
