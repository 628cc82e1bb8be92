"""Audio of any length, rate and shape to VGGish embeddings, with a network known by heart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from environments import ENVIRONMENTS
from signals import speechlike
from tiny_vggish import RATE_HZ, STEP, WINDOW, Samples, expected, publish
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    DeviceError,
    OptionsError,
    load,
    loading,
)
from voxport.runtime.vggish import embed_wav_file, load_vggish_model
from voxport.runtime.vggish.embedder import VggishEmbedder

ONE_LSB = 1 / 32768


@contextmanager
def _model(models: Path, **options: Any) -> Iterator[VggishEmbedder]:
    with load_vggish_model("cpu", models=models, **options) as model:
        yield model


def _wav(path: Path, samples: Samples, rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return path


@pytest.mark.parametrize("count", [1, 2, 9, 20])
def test_every_whole_example_is_embedded(models: Path, count: int) -> None:
    # More and fewer than a batch of the CPU's; and a rest that is none.
    samples = speechlike(WINDOW + (count - 1) * STEP + STEP // 2, count)
    with _model(models) as model:
        found = model(samples, source_rate_hz=RATE_HZ)
    assert found.vectors.shape == (count, 2)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, expected(samples), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.starts_s, 0.96 * np.arange(count))
    np.testing.assert_allclose(found.ends_s - found.starts_s, 0.975)
    assert found.duration_s == len(samples) / RATE_HZ
    assert found.remarks == ()
    assert (found.whitened, found.quantised) == (None, None)


def test_a_file_and_its_samples_are_the_same(models: Path, tmp_path: Path) -> None:
    samples = speechlike(3 * RATE_HZ, 1)
    path = _wav(tmp_path / "a.wav", samples)
    with _model(models) as model:
        from_file = embed_wav_file(path, model)
        np.testing.assert_array_equal(from_file, model(samples, source_rate_hz=RATE_HZ).vectors)
        # The model stays open.
        assert len(embed_wav_file(path, model)) == 3


def test_a_model_is_loaded_where_none_is_given(models: Path, tmp_path: Path) -> None:
    path = _wav(tmp_path / "a.wav", speechlike(2 * RATE_HZ, 1))
    assert embed_wav_file(path, models=models).shape == (2, 2)


@pytest.mark.parametrize("num_samples", [1, WINDOW - 1])
def test_short_audio_has_no_embedding(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, num_samples: int
) -> None:
    path = _wav(tmp_path / "a.wav", speechlike(num_samples, 1) + np.float32(0.1))
    with _model(models) as model, caplog.at_level(logging.WARNING, "voxport"):
        vectors = embed_wav_file(path, model)
    assert (vectors.shape, vectors.dtype) == ((0, 2), np.float32)
    assert "but an example takes 0.975 s: no embedding" in caplog.text
    assert "a.wav" in caplog.text


def test_silence_is_a_sound(models: Path) -> None:
    with _model(models) as model:
        found = model(np.zeros(2 * RATE_HZ, np.float32), source_rate_hz=RATE_HZ)
    np.testing.assert_array_equal(found.vectors, np.zeros((2, 2)))


def test_channels_are_mixed(models: Path, tmp_path: Path) -> None:
    left, right = speechlike(2 * RATE_HZ, 1), speechlike(2 * RATE_HZ, 2)
    path = _wav(tmp_path / "a.wav", np.stack([left, right], axis=1))
    with _model(models) as model:
        found = embed_wav_file(path, model)
    np.testing.assert_allclose(found, expected((left + right) / 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
def test_other_rates_are_resampled(models: Path, rate_hz: int) -> None:
    samples = (0.2 + speechlike(4 * rate_hz, 1)).astype(np.float32)
    with _model(models) as model:
        found = model(samples, source_rate_hz=rate_hz)
    at_16_khz = soxr.resample(samples, rate_hz, RATE_HZ)
    np.testing.assert_allclose(found.vectors, expected(at_16_khz), rtol=0, atol=1e-5)
    assert found.duration_s == pytest.approx(4, abs=0.01)


def test_integers_are_scaled(models: Path, tmp_path: Path) -> None:
    samples = speechlike(RATE_HZ, 1)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    with _model(models) as model:
        np.testing.assert_allclose(
            embed_wav_file(path, model), expected(samples), rtol=0, atol=ONE_LSB
        )


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.full(RATE_HZ, np.nan, np.float32), "NaN"),
        (np.full(RATE_HZ, np.inf, np.float32), "infinite"),
        (np.zeros((1, 1, RATE_HZ), np.float32), "expected"),
    ],
)
def test_audio_that_cannot_be_used(models: Path, samples: Samples, match: str) -> None:
    with _model(models) as model, pytest.raises(AudioError, match=match):
        model(samples, source_rate_hz=RATE_HZ)


def test_a_truncated_file(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speechlike(RATE_HZ, 1), RATE_HZ)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(AudioError, match=r"a\.wav"):
        embed_wav_file(path, models=models)


def test_a_pca_gives_whitened_and_bytes(whitening_models: Path) -> None:
    samples = np.linspace(-0.9, 0.9, 3 * RATE_HZ).astype(np.float32)
    with _model(whitening_models) as model:
        found = model(samples, source_rate_hz=RATE_HZ)
    assert found.whitened is not None
    assert found.quantised is not None
    np.testing.assert_allclose(found.whitened, 2 * found.vectors, rtol=1e-6)
    assert found.quantised.dtype == np.uint8
    np.testing.assert_array_equal(found.quantised, np.floor((found.whitened + 2) * 63.75))


def test_progress_is_told(models: Path) -> None:
    told: list[tuple[str, float, float | None]] = []
    with _model(models) as model:
        model(
            speechlike(4 * RATE_HZ, 1),
            source_rate_hz=RATE_HZ,
            progress=lambda p: told.append((p.stage, round(p.done_s, 6), p.total_s)),
        )
    assert told == [("embedding", 0.96 * n, 4.0) for n in (1, 2, 3, 4)]


# Which device


@pytest.fixture
def loaded_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Machines to choose from, and what was asked for on them."""
    asked: list[str] = []
    original = loading.load

    def remember(name: str, *, device: str = "auto", **options: Any) -> Any:
        asked.append(device)
        return original(name, device=device, **options)

    monkeypatch.setattr("voxport.runtime.vggish.model.load", remember)
    monkeypatch.setattr(loading, "known_environment", lambda: ENVIRONMENTS["linux"])
    return asked


@pytest.mark.parametrize("preference", ["gpu", "metal"])
def test_a_missing_device_falls_back_to_the_cpu_with_a_warning(
    models: Path,
    loaded_on: list[str],
    caplog: pytest.LogCaptureFixture,
    preference: Any,
) -> None:
    with (
        caplog.at_level(logging.WARNING, "voxport"),
        load_vggish_model(preference, models=models) as model,
    ):
        assert model.device == "cpu"
    assert loaded_on == [preference, "cpu"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("vggish runs on the CPU: ")


@pytest.mark.parametrize("preference", ["auto", "cpu"])
def test_what_is_there_is_no_fallback(
    models: Path, loaded_on: list[str], caplog: pytest.LogCaptureFixture, preference: Any
) -> None:
    with (
        caplog.at_level(logging.WARNING, "voxport"),
        load_vggish_model(preference, models=models) as model,
    ):
        assert model.device == "cpu"
    assert (loaded_on, caplog.records) == ([preference], [])


def test_auto_that_finds_nothing_is_an_error(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "known_environment", lambda: ENVIRONMENTS["linux, no ORT"])
    with pytest.raises(DeviceError):
        load_vggish_model(models=models)


def test_memory_options_reach_the_session(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def remember(name: str, *, options: Any, **others: Any) -> Any:
        seen.append(options)
        return load(name, device="cpu", models=models)

    monkeypatch.setattr("voxport.runtime.vggish.model.load", remember)
    load_vggish_model("cpu").close()
    load_vggish_model("cpu", 0.5, False).close()
    assert [(each.gpu_memory_fraction, each.gpu_allow_growth) for each in seen] == [
        (0.8, True),
        (0.5, False),
    ]


def test_options_out_of_range(models: Path) -> None:
    with pytest.raises(OptionsError, match="gpu_memory_fraction"):
        load_vggish_model("cpu", 1.5, models=models)
    with pytest.raises(OptionsError, match="device_preference must be one of auto, cpu, gpu"):
        load_vggish_model("cuda", models=models)  # type: ignore[arg-type]


def test_what_is_no_vggish(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="window_samples None: it is no VGGish"):
        load_vggish_model("cpu", models=publish(tmp_path / "a", window_samples=None))
    with pytest.raises(ArtifactNotFoundError):
        load_vggish_model("cpu", models=tmp_path / "none")
