"""The graphs, traced once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from published_highlights import publish_highlights
from voxport.graphs.highlights import HighlightsConfig
from voxport.runtime.highlights import Highlighter


@pytest.fixture(scope="session")
def highlight_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_highlights(tmp_path_factory.mktemp("highlights"), HighlightsConfig())


@pytest.fixture
def highlighter(highlight_models: Path) -> Iterator[Highlighter]:
    with Highlighter(models=highlight_models, device="cpu") as loaded:
        yield loaded
