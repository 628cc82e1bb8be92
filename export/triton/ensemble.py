"""From waveform to masks and embeddings on a server, in steps that are batched apart.

``diarization_window`` computes the same in one graph. Here the networks have queues, batches and
instances of their own, and share what others ask of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...runtime.errors import ArtifactNotFoundError
from ...runtime.manifest import ArtifactRow, Description, Manifest, TensorSpec
from ...runtime.serving.names import model_name
from .config import Serving, add_identity, add_tensors
from .messages import import_messages

ENSEMBLE = "diarization_window_ensemble"
FUSED = "diarization_window"
_OUTPUTS = ("masks", "embeddings")


@dataclass(frozen=True)
class Step:
    """An artifact within an ensemble: from its tensors' names to the ensemble's."""

    row: ArtifactRow
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def model(self) -> str:
        """The name of its model."""
        return model_name(self.row.name, self.row.precision)


@dataclass(frozen=True)
class Ensemble:
    """Artifacts in a row, and the one that computes the same at once."""

    description: Description
    steps: tuple[Step, ...]
    fused: ArtifactRow

    @property
    def name(self) -> str:
        return model_name(ENSEMBLE, self.description.precision)

    @property
    def sha256(self) -> str:
        """Of the steps' hashes: it tells ensembles apart as an artifact's own tells artifacts."""
        return hashlib.sha256(
            "\n".join(step.row.sha256 for step in self.steps).encode()
        ).hexdigest()


def ensemble_of(
    chosen: Sequence[ArtifactRow], manifest: Manifest, precision: str
) -> Ensemble | None:
    """The ensemble of a precision, where all its steps were chosen.

    Args:
        chosen: the artifacts of the repository.
        manifest: what there is; an ensemble is held to its ``diarization_window``, which also
            says which embedding network.
        precision: of the networks. ``embedding_masks`` is exact.
    """
    try:
        fused = manifest.find(FUSED, precision)
    except ArtifactNotFoundError:
        return None
    rows = {(row.name, row.precision): row for row in chosen}
    network = fused.description.recipe.get("embedding")
    family = network.get("family") if isinstance(network, dict) else None
    segmentation = rows.get(("segmentation_masks", precision))
    masks = rows.get(("embedding_masks", "fp32"))
    embedding = rows.get((f"embedding_{family}", precision))
    if segmentation is None or masks is None or embedding is None:
        return None
    steps = (
        Step(segmentation, {"waveform": "waveform"}, {"masks": "masks"}),
        Step(masks, {"masks": "masks"}, {"embedding_masks": "embedding_masks"}),
        Step(
            embedding,
            {"waveform": "waveform", "masks": "embedding_masks"},
            {"embeddings": "embeddings"},
        ),
    )
    return Ensemble(_description(fused.description, masks.description), steps, fused)


def _description(fused: Description, masks: Description) -> Description:
    """What ``diarization_window`` says of itself, for the whole windows of ``masks``."""
    sizes = {axis: masks.figure(f"window_{axis}", int) for axis in ("samples", "frames")}

    def sized(spec: TensorSpec) -> TensorSpec:
        return replace(spec, axes=tuple(sizes.get(str(axis), axis) for axis in spec.axes))

    return replace(
        fused,
        name=ENSEMBLE,
        inputs=tuple(map(sized, fused.inputs)),
        outputs=tuple(sized(spec) for spec in fused.outputs if spec.name in _OUTPUTS),
        minimums={},
    )


def ensemble_config(ensemble: Ensemble, serving: Serving) -> Any:
    """The ``ModelConfig`` of an ensemble.

    Raises:
        MissingDependencyError: tritonclient is not installed.
    """
    config = import_messages().ModelConfig(
        name=ensemble.name, platform="ensemble", max_batch_size=serving.batch_sizes[-1]
    )
    config.version_policy.latest.num_versions = 1
    add_tensors(config, ensemble.description, batched=True)
    for step in ensemble.steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model,
            model_version=-1,
            input_map=step.inputs,
            output_map=step.outputs,
        )
    add_identity(config, ensemble.description, ensemble.sha256)
    return config
