"""The whole of a diarization through a server: the same turns as here, to the last character."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_diarization
from kserve_server import KServeServer, Served
from voxport.runtime import ArtifactNotFoundError, Manifest
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.cli import main
from voxport.runtime.diarization import DiarizationResult, Diarizer, Settings
from voxport.runtime.locate import find_models, first_embedding
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.segmenter import SEGMENTATIONS


def tiny(models: Path, device: str, mode: str) -> DiarizationResult:
    settings = Settings(**{**tiny_diarization.SETTINGS, "mode": mode})
    with Diarizer(models=models, device=device, settings=settings) as diarizer:
        return tiny_diarization.diarized(diarizer, tiny_diarization.dialogue())


def assert_same(found: DiarizationResult, expected: DiarizationResult) -> None:
    assert write_rttm(found.turns, "a") == write_rttm(expected.turns, "a")
    assert write_rttm(found.exclusive_turns, "a") == write_rttm(expected.exclusive_turns, "a")
    assert np.array_equal(found.speaker_count, expected.speaker_count)
    assert set(found.embeddings) == set(expected.embeddings)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_turns_are_the_same(models: Path, local_models: Path, device: str, mode: str) -> None:
    found, expected = tiny(models, device, mode), tiny(local_models, "cpu", mode)
    assert len(expected.turns) == 3
    assert_same(found, expected)
    for name, embedding in expected.embeddings.items():
        assert np.array_equal(found.embeddings[name], embedding)
    assert {used.device for used in found.artifacts} == {device}
    assert [used.sha256 for used in found.artifacts] == [used.sha256 for used in expected.artifacts]


def test_the_command(
    models: Path, local_models: Path, server: KServeServer, tmp_path: Path
) -> None:
    audio = tmp_path / "dialogue.wav"
    soundfile.write(audio, tiny_diarization.dialogue(), tiny_diarization.RATE_HZ, "FLOAT")
    for device, folder in (("cpu", local_models), (server.grpc, models)):
        out = tmp_path / device.partition(":")[0]
        arguments = ["--models", folder, "--device", device, "--step", "0.1", "-o", out]
        assert main(["diarize", *map(str, arguments), str(audio)]) == 0
    local, remote = ((tmp_path / each / "dialogue.rttm").read_bytes() for each in ("cpu", "triton"))
    assert local
    assert local == remote


@pytest.fixture(scope="module")
def real_models() -> Path:
    try:
        folder = find_models()
    except ArtifactNotFoundError as error:
        pytest.skip(f"needs exported artifacts: {error}")
    return folder


@pytest.fixture(scope="module")
def real_server(
    real_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KServeServer]:
    manifest = Manifest.read(real_models / MANIFEST_NAME)
    rows = [manifest.find(name, "fp32") for name in (*SEGMENTATIONS, first_embedding(real_models))]
    given = [Served(row.description, (real_models / row.path).read_bytes()) for row in rows]
    running = KServeServer(tmp_path_factory.mktemp("real") / "models", given)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_real_speech(real_models: Path, shared_data: Path, real_server: KServeServer) -> None:
    """30 s of a conversation through the real networks.

    A server gets all windows of a block at once and the CPU eight at a time, which may round
    otherwise: what must agree are the turns.
    """
    audio = sorted((shared_data / "wav").glob("*.wav"))[0]
    samples, rate_hz = soundfile.read(audio, frames=30 * 16000, dtype="float32")
    results = []
    for device in ("cpu", real_server.grpc):
        with Diarizer(models=real_models, device=device) as diarizer:
            results.append(diarizer(samples, source_rate_hz=rate_hz))
    expected, found = results
    assert len(expected.turns) > 0
    assert_same(found, expected)
    worst = max(
        float(np.abs(found.embeddings[name] - each).max() / np.abs(each).max())
        for name, each in expected.embeddings.items()
    )
    print(f"{audio.name}: {len(expected.turns)} turns, embeddings within {worst:.1e}")
    assert worst < 1e-3
