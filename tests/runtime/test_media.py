"""What only ffmpeg reads: m4a, mp4, mkv; and containers that are damaged or point elsewhere."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from signals import full_scale_noise
from voxport.runtime import AudioError
from voxport.runtime.audio import read_audio
from voxport.runtime.decode import open_audio

Samples = npt.NDArray[np.float32]
RATE_HZ = 16000


def refused(source: Any) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source, RATE_HZ)
    return str(caught.value)


needs_av = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="PyAV is not installed (the extra 'media')"
)
CONTAINERS = [
    ("m4a", "aac", "ipod"),
    ("mp4", "aac", "mp4"),
    ("mkv", "aac", "matroska"),
    ("webm", "libopus", "webm"),
    ("aac", "aac", "adts"),
    ("mka", "pcm_s16le", "matroska"),
    ("mov", "pcm_s24le", "mov"),
]


def media(samples: Samples, codec: str, container: str) -> bytes:
    """(N, C) at 48 kHz as ffmpeg writes it."""
    import av  # noqa: PLC0415 -- optional

    content = io.BytesIO()
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(content, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=48000)
        stream.layout = layout
        convert = av.AudioResampler(stream.codec_context.format.name, layout, 48000, 1024)
        for start in range(0, len(samples), 1024):
            planar = np.ascontiguousarray(samples[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = 48000, start
            for converted in convert.resample(frame):
                output.mux(stream.encode(converted))
        for converted in convert.resample(None):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return content.getvalue()


def tones(seconds: float) -> Samples:
    """(N, 2) at 48 kHz: 440 Hz left, 1 kHz right."""
    times = np.arange(round(seconds * 48000)) / 48000
    return np.stack([0.5 * np.sin(2 * np.pi * hz * times) for hz in (440, 1000)], 1).astype(
        np.float32
    )


@needs_av
@pytest.mark.parametrize(("suffix", "codec", "container"), CONTAINERS)
def test_what_only_ffmpeg_reads(tmp_path: Path, suffix: str, codec: str, container: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(media(tones(3.0), codec, container))
    samples = read_audio(path, RATE_HZ)
    assert abs(len(samples) - 3 * RATE_HZ) < 2200  # codecs pad
    np.testing.assert_array_equal(read_audio(io.BytesIO(path.read_bytes()), RATE_HZ), samples)
    # Both channels, at half their amplitude each, by projection.
    inner = samples[8000:40000]
    times = np.arange(len(inner)) / RATE_HZ
    for hz in (440, 1000):
        amplitude = 2 * abs(inner @ np.exp(-2j * np.pi * hz * times)) / len(inner)
        assert amplitude == pytest.approx(0.25, rel=0.05)


@needs_av
@pytest.mark.parametrize(("codec", "container"), [("pcm_s16le", "matroska"), ("pcm_f32le", "mov")])
def test_channels_and_samples_keep_their_places(codec: str, container: str) -> None:
    samples = full_scale_noise(2 * 5000, 8).reshape(5000, 2)
    with open_audio(io.BytesIO(media(samples, codec, container))) as stream:
        assert (stream.rate_hz, stream.num_channels) == (48000, 2)
        decoded = np.concatenate(list(stream.chunks))
    np.testing.assert_allclose(decoded[:5000], samples, rtol=0, atol=2**-15)
    assert not decoded[5000:].any()


@needs_av
@pytest.mark.parametrize(("codec", "container"), [("aac", "matroska"), ("aac", "mp4")])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_container_that_breaks_off(codec: str, container: str, share: float) -> None:
    content = media(tones(10.0), codec, container)
    refused(io.BytesIO(content[: int(share * len(content))]))


@needs_av
def test_a_video_without_sound() -> None:
    import av  # noqa: PLC0415 -- optional

    content = io.BytesIO()
    with av.open(content, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert "ffmpeg finds none in it" in refused(content)


@needs_av
@pytest.mark.parametrize("scheme", ["{path}", "file:{path}"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {target}\n",
    ],
)
def test_a_playlist_opens_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, scheme: str
) -> None:
    # Relative names are looked for in the working folder.
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.aac"
    other.write_bytes(media(tones(1.0), "aac", "adts"))
    for target in (scheme.format(path=other), "other.aac"):
        playlist = tmp_path / "a.m3u8"
        playlist.write_text(text.format(target=target))
        assert "cannot be read as audio" in refused(playlist)
        assert "cannot be read as audio" in refused(io.BytesIO(playlist.read_bytes()))


def test_without_ffmpeg_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'voxport[media]'" in refused(path)
