"""The table of artifacts: one row per graph drives export, verification and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from torch import nn

from ..graphs import (
    CosineDistance,
    EmbeddingInputs,
    EmbeddingMasks,
    FbankConfig,
    KaldiFbank,
    PostEmbedding,
    Powerset,
    SegmentationMasks,
    SegmentationWindows,
)
from ..graphs.masks import MIN_NUM_SAMPLES
from ..runtime.manifest import TensorSpec
from . import recipes
from .configuration import Configurations
from .networks import (
    FAMILIES,
    Networks,
    diarization_window_module,
    embedding_module,
    fbank_config,
    segmentation_module,
)
from .systems import DEFAULTS
from .verification import cases, references
from .verification.cases import Case, Speech
from .verification.references import Reference

Arrays = dict[str, npt.NDArray[Any]]
# ``int8`` quantises for ONNX Runtime, ``w8`` stores 8-bit weights in Core ML packages: both from
# what a spec's ``int8`` says.
Precision = Literal["fp32", "fp16", "int8", "w8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "w8")
# What an output holds decides how it is compared and with which limits.
OutputKind = Literal[
    "log_probs",
    "masks",
    "embeddings",
    "features",
    "distances",
    "exact",
    "power",
    "decibels",
    "levels",
    "scores",
    "log_mel",
    "vectors",
    "quantised",
]


@dataclass(frozen=True)
class Int8:
    """How a graph is quantised.

    ``lstm``: dynamic INT8 LSTMs (weights and activations). ``weight_scopes``: parts of the names
    of convolutions whose weights are stored in 8 bits and expanded when loaded, which saves
    space and no time; ``weight_islands``: parts of the names of those that are not.
    """

    lstm: bool = False
    weight_scopes: tuple[str, ...] = ()
    weight_islands: tuple[str, ...] = ()

    def has_int8_weights(self, node: onnx.NodeProto) -> bool:
        """Whether a node's weights are stored in 8 bits."""
        inside = any(scope in node.name for scope in self.weight_scopes)
        island = any(island in node.name for island in self.weight_islands)
        return node.op_type == "Conv" and inside and not island


@dataclass(frozen=True)
class ExportSpec:
    """One artifact.

    Attributes:
        requires: the networks that it is made of: ``segmentation``, ``campplus``,
            ``wespeaker``, or ``embedding`` for the first embedding network chosen.
        build: makes the torch module.
        kinds: for each output, what it holds.
        traced: sizes of the named axes while tracing; verification uses other sizes too.
        cases: the inputs that verification runs.
        reference: the original implementation in textbook form.
        half_scopes: prefixes of node names that compute in FP16; none means no FP16 variant.
        fp32_islands: parts of node names within those scopes that stay in FP32.
        int8: how the INT8 variant is made, if at all.
        max_nodes: the most nodes that the FP32 graph may have.
        coreml: whether Core ML packages are made of it, too.
    """

    name: str
    build: Callable[[Networks], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kinds: Mapping[str, OutputKind]
    traced: Mapping[str, int]
    cases: Callable[[Networks, Speech], list[Case]]
    reference: Reference
    recipe: Callable[[Networks], dict[str, Any]]
    max_nodes: int
    requires: tuple[str, ...] = ()
    minimums: Mapping[str, int] = field(default_factory=dict)
    half_scopes: tuple[str, ...] = ()
    fp32_islands: tuple[str, ...] = ()
    int8: Int8 | None = None
    coreml: bool = True

    def stays_fp32(self, node: onnx.NodeProto) -> bool:
        """Whether a node is outside the FP16 scopes or on one of their FP32 islands."""
        inside = node.name.startswith(self.half_scopes)
        return not inside or any(island in node.name for island in self.fp32_islands)

    def probe_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of inputs of the traced sizes, for one window."""
        return self._shapes({**self.traced, "batch": 1})

    def example(self) -> Arrays:
        """Inputs of the traced sizes."""
        rng = np.random.default_rng(0)
        shapes = self._shapes(self.traced)
        return {spec.name: rng.random(shapes[spec.name]).astype(spec.dtype) for spec in self.inputs}

    def _shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        return {
            spec.name: tuple(axis if isinstance(axis, int) else sizes[axis] for axis in spec.axes)
            for spec in self.inputs
        }


def _float(name: str, *axes: str | int) -> TensorSpec:
    return TensorSpec(name, "float32", axes)


WAVEFORM = _float("waveform", "batch", 1, "samples")
# SincNet's first normalisation sums over all samples, and its band-pass filters are sensitive to
# rounding: in FP16 they cost 68 flipped frames of 43,586, in FP32 none (docs/decisions/0002).
SEGMENTATION_ISLANDS = ("/sincnet/wav_norm1d/", "/sincnet/conv1d.0/", "/LogSoftmax")

# CAM++'s 2-D head holds 1 % of the weights and makes half of the error: it stays FP32.
EMBEDDING_INT8 = Int8(weight_scopes=("/trunk/",), weight_islands=("/trunk/head/",))


def segmentation_specs(networks: Networks) -> list[ExportSpec]:
    """The graphs around segmentation, for the checkpoint's numbers of classes and speakers."""
    config = networks.segmentation.config
    classes, speakers = config.powerset.num_classes, config.powerset.num_speakers
    frames = config.num_frames(config.window_samples)
    log_probs = _float("log_probs", "batch", "frames", classes)
    masks = _float("masks", "batch", "frames", speakers)
    segmentation = ExportSpec(
        name="segmentation",
        build=segmentation_module,
        inputs=(WAVEFORM,),
        outputs=(log_probs,),
        kinds={"log_probs": "log_probs"},
        traced={"batch": 2, "samples": config.window_samples},
        cases=cases.segmentation,
        reference=references.Segmentation(),
        recipe=recipes.segmentation,
        max_nodes=45,
        requires=("segmentation",),
        minimums={"samples": config.min_samples},
        half_scopes=("/",),
        fp32_islands=SEGMENTATION_ISLANDS,
        int8=Int8(lstm=True),
    )
    return [
        segmentation,
        replace(
            segmentation,
            name="segmentation_masks",
            build=lambda n: SegmentationMasks(segmentation_module(n)),
            outputs=(log_probs, masks),
            kinds={"log_probs": "log_probs", "masks": "exact"},
            reference=references.SegmentationMasks(),
        ),
        ExportSpec(
            name="segmentation_windows",
            build=lambda n: SegmentationWindows(segmentation_module(n)),
            inputs=(
                _float("waveform", 1, 1, "samples"),
                TensorSpec("starts", "int64", ("windows",)),
            ),
            outputs=(
                _float("log_probs", "windows", frames, classes),
                _float("masks", "windows", frames, speakers),
            ),
            kinds={"log_probs": "log_probs", "masks": "exact"},
            traced={"samples": config.window_samples * 3 // 2, "windows": 3},
            cases=cases.segmentation_windows,
            reference=references.SegmentationWindows(),
            recipe=recipes.segmentation_windows,
            max_nodes=85,
            requires=("segmentation",),
            minimums={"samples": config.window_samples},
            half_scopes=("/",),
            fp32_islands=("/front/", *SEGMENTATION_ISLANDS),
            int8=Int8(lstm=True),
            # For many windows at once, on servers; packages have a length that is fixed.
            coreml=False,
        ),
        ExportSpec(
            name="powerset",
            build=lambda n: Powerset(n.segmentation.config.powerset),
            inputs=(log_probs,),
            outputs=(masks,),
            kinds={"masks": "exact"},
            traced={"batch": 2, "frames": frames},
            cases=cases.powerset,
            reference=references.PowersetMasks(),
            recipe=recipes.powerset,
            max_nodes=3,
            requires=("segmentation",),
        ),
    ]


def embedding_spec(networks: Networks, family: str) -> ExportSpec:
    """Waveform and masks to embeddings, for one family of networks."""
    size = networks.embedding(family).config.embedding_size
    return ExportSpec(
        name=f"embedding_{family}",
        build=lambda n: embedding_module(n, family),
        inputs=(WAVEFORM, _float("masks", "batch", "speakers", "frames")),
        outputs=(_float("embeddings", "batch", "speakers", size),),
        kinds={"embeddings": "embeddings"},
        traced={"batch": 2, "samples": 160000, "speakers": 3, "frames": 589},
        cases=cases.embedding,
        reference=references.Embedding(family),
        recipe=lambda n: recipes.embedding(n, family),
        max_nodes=850,
        requires=(family,),
        minimums={"samples": MIN_NUM_SAMPLES},
        half_scopes=("/trunk/",),
        int8=EMBEDDING_INT8,
    )


def fbank_spec(family: str, config: FbankConfig) -> ExportSpec:
    """Kaldi features; FP32 only, since their power spectrum overflows FP16."""
    return ExportSpec(
        name=f"fbank_{family}",
        build=lambda _: KaldiFbank(config),
        inputs=(WAVEFORM,),
        outputs=(_float("features", "batch", "frames", config.num_mel_bins),),
        kinds={"features": "features"},
        traced={"batch": 2, "samples": 160000},
        cases=cases.fbank,
        reference=references.Fbank(config),
        recipe=lambda _: recipes.fbank(config),
        max_nodes=15,
        minimums={"samples": config.frame_length_samples},
    )


def embedding_inputs_spec() -> ExportSpec:
    """Exact, hence FP32 only."""
    return ExportSpec(
        name="embedding_inputs",
        build=lambda _: EmbeddingInputs(),
        inputs=(WAVEFORM, _float("masks", "batch", "frames", "speakers")),
        outputs=(
            _float("waveforms", "rows", "samples"),
            _float("clean_masks", "rows", "frames"),
        ),
        kinds={"waveforms": "exact", "clean_masks": "exact"},
        traced={"batch": 1, "samples": 160000, "frames": 589, "speakers": 3},
        cases=cases.embedding_inputs,
        reference=references.EmbeddingInputs(),
        recipe=lambda _: {"overlap": "excluded"},
        max_nodes=25,
    )


def embedding_masks_spec(networks: Networks) -> ExportSpec:
    """Exact, hence FP32 only. For whole windows: which masks are too short depends on them."""
    config = networks.segmentation.config
    frames, speakers = config.num_frames(config.window_samples), config.powerset.num_speakers
    return ExportSpec(
        name="embedding_masks",
        build=lambda n: EmbeddingMasks(n.segmentation.config.window_samples),
        inputs=(_float("masks", "batch", frames, speakers),),
        outputs=(_float("embedding_masks", "batch", speakers, frames),),
        kinds={"embedding_masks": "exact"},
        traced={"batch": 2},
        cases=cases.embedding_masks,
        reference=references.EmbeddingMasks(),
        recipe=recipes.embedding_masks,
        max_nodes=15,
        requires=("segmentation",),
    )


def database_specs(
    step_s: float, activity_threshold_frames: float, min_duration_s: float
) -> list[ExportSpec]:
    """Graphs without weights around a speaker database: within 1e-6, hence FP32 only."""
    database = _float("database", "database", "size")
    embeddings = _float("embeddings", "speakers", "size")
    return [
        ExportSpec(
            name="cosine_distance",
            build=lambda _: CosineDistance(),
            inputs=(embeddings, database),
            outputs=(_float("distances", "speakers", "database"),),
            kinds={"distances": "distances"},
            traced={"speakers": 3, "database": 5, "size": 192},
            cases=cases.cosine_distance,
            reference=references.CosineDistance(),
            recipe=lambda _: {"zero_vector_distance": 1.0},
            max_nodes=25,
            minimums={"speakers": 0, "database": 0},
        ),
        ExportSpec(
            name="post_embedding",
            build=lambda _: PostEmbedding(step_s, activity_threshold_frames, min_duration_s),
            inputs=(embeddings, database, _float("segments", 1, "frames", "speakers")),
            outputs=(
                _float("distances", "speakers", "database"),
                _float("activity", "speakers"),
                _float("valid", "speakers"),
                _float("filtered_segments", 1, "frames", "speakers"),
            ),
            kinds={
                "distances": "distances",
                "activity": "exact",
                "valid": "exact",
                "filtered_segments": "exact",
            },
            traced={"speakers": 3, "database": 5, "size": 192, "frames": 589},
            cases=cases.post_embedding,
            reference=references.PostEmbedding(step_s, activity_threshold_frames, min_duration_s),
            recipe=lambda _: recipes.post_embedding(
                step_s, activity_threshold_frames, min_duration_s
            ),
            max_nodes=45,
            minimums={"database": 0},
        ),
    ]


def window_spec(networks: Networks) -> ExportSpec:
    """Segmentation and the first embedding network in one graph."""
    config = networks.segmentation.config
    family = networks.primary_family
    speakers = config.powerset.num_speakers
    size = networks.embedding(family).config.embedding_size
    return ExportSpec(
        name="diarization_window",
        build=diarization_window_module,
        inputs=(WAVEFORM,),
        outputs=(
            _float("masks", "batch", "frames", speakers),
            _float("clean_masks", "batch", "frames", speakers),
            _float("embeddings", "batch", speakers, size),
        ),
        kinds={"masks": "masks", "clean_masks": "exact", "embeddings": "embeddings"},
        traced={"batch": 2, "samples": config.window_samples},
        cases=cases.diarization_window,
        reference=references.DiarizationWindow(family),
        recipe=recipes.diarization_window,
        max_nodes=950,
        requires=("segmentation", family),
        minimums={"samples": config.min_samples},
        half_scopes=("/segmentation/segmentation/", "/embedding/trunk/"),
        fp32_islands=SEGMENTATION_ISLANDS,
        int8=replace(EMBEDDING_INT8, lstm=True),
    )


def export_specs(
    networks: Networks,
    *,
    activity_threshold_frames: float = 10.0,
    min_duration_s: float = 1.0,
    configurations: Configurations = DEFAULTS,
) -> list[ExportSpec]:
    """All artifacts that these networks allow, in the order in which they are made."""
    from .systems.table import system_specs  # noqa: PLC0415 -- they are made of what is here

    config = networks.segmentation.config
    step_s = config.hop_samples / config.sample_rate_hz
    return [
        *segmentation_specs(networks),
        *(fbank_spec(family, fbank_config(networks, family)) for family in FAMILIES),
        *(embedding_spec(networks, family) for family in networks.families),
        embedding_inputs_spec(),
        embedding_masks_spec(networks),
        *database_specs(step_s, activity_threshold_frames, min_duration_s),
        window_spec(networks),
        *system_specs(networks, configurations),
    ]
