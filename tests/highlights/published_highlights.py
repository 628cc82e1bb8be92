"""The real graphs, which need no checkpoint, as files; traced and not judged."""

from __future__ import annotations

from pathlib import Path

import tiny_artifacts
from voxport.export.formats import described
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.onnx_graph import trace, with_description
from voxport.export.systems.highlights import highlights_specs
from voxport.graphs.highlights import HighlightsConfig


def publish_highlights(folder: Path, config: HighlightsConfig) -> Path:
    """The three artifacts of a configuration, in a models folder."""
    artifacts = []
    networks: Networks = None  # type: ignore[assignment] # none of them is made of a network
    for spec in highlights_specs(config):
        description = described(spec, "fp32", networks)
        model = trace(spec, evaluation_mode(spec.build, networks))
        artifacts.append((description, with_description(model, description)))
    return tiny_artifacts.publish(folder, artifacts)
