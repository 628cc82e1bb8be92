"""The graphs whose configuration can be chosen at export, each with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...graphs.highlights import HighlightsConfig
from ...graphs.mel_matrix import MelMatrixConfig
from ...graphs.vggish_frontend import VggishFrontendConfig

DEFAULTS: Mapping[str, Any] = {
    "highlights": HighlightsConfig(),
    "mel_matrix": MelMatrixConfig(),
    "vggish": VggishFrontendConfig(),
    "vggish_frontend": VggishFrontendConfig(),
}

# Artifacts that are made with the configuration of another one.
STAGES: Mapping[str, str] = {
    "highlights_rms": "highlights",
    "highlights_score": "highlights",
}
