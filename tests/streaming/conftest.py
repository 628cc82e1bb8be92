"""The tiny networks, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streams import streaming
from tiny_diarization import publish
from voxport.runtime import StreamingDiarizer


@pytest.fixture(scope="session")
def tiny_stream_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tiny_stream(tiny_stream_models: Path) -> Iterator[StreamingDiarizer]:
    with streaming(tiny_stream_models) as loaded:
        yield loaded
