"""Windows of a stream, of a cached file and of an array are those of slicing the whole."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from signals import full_scale_noise
from voxport.runtime import AudioError
from voxport.runtime import windows as windows_module
from voxport.runtime.audio import MonoStream, read_audio
from voxport.runtime.audio_source import CHUNK_FRAMES
from voxport.runtime.windows import CACHE_MAX_SAMPLES, AudioWindows, WindowBlock, WindowPlan, cut

Samples = npt.NDArray[np.float32]
RATE_HZ = 16000


def wav(samples: npt.NDArray[np.floating], rate_hz: int = RATE_HZ) -> io.BytesIO:
    """A float WAV file in memory."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format="WAV", subtype="FLOAT")
    return content


def expected_windows(samples: Samples, window: int, step: int) -> tuple[list[int], Samples]:
    """Starts and windows by pyannote's rule, in its own words."""
    whole = 0 if len(samples) < window else (len(samples) - window) // step + 1
    starts = [step * number for number in range(whole)]
    if len(samples) < window or (len(samples) - window) % step > 0:
        starts.append(step * whole)
    cuts = [samples[start : start + window] for start in starts]
    return starts, np.stack([np.pad(cut, (0, window - len(cut))) for cut in cuts])


def check(blocks: list[WindowBlock], samples: Samples, plan: WindowPlan) -> None:
    starts, windows = expected_windows(samples, plan.window_samples, plan.step_samples)
    np.testing.assert_array_equal(np.concatenate([block.windows for block in blocks]), windows)
    assert np.concatenate([block.starts for block in blocks]).tolist() == starts
    ends = np.concatenate([block.starts + block.num_valid for block in blocks])
    assert ends.tolist() == [min(start + plan.window_samples, len(samples)) for start in starts]
    assert ends[-1] == len(samples)
    assert {len(block.windows) for block in blocks[:-1]} <= {plan.block_windows}
    assert 1 <= len(blocks[-1].windows) <= plan.block_windows
    assert plan.count(len(samples)) == len(starts)
    for block in blocks:
        assert block.windows.dtype == np.float32
        assert block.starts.dtype == block.num_valid.dtype == np.int64


@st.composite
def plans(draw: st.DrawFn) -> WindowPlan:
    window = draw(st.integers(1, 60))
    return WindowPlan(window, draw(st.integers(1, window)), draw(st.integers(1, 7)))


# Any chunks, any sizes


@given(lengths=st.lists(st.integers(0, 90), min_size=1, max_size=12), plan=plans())
def test_windows_of_chunks_are_those_of_the_whole(lengths: list[int], plan: WindowPlan) -> None:
    samples = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    if not len(samples):
        assert list(cut([samples], plan)) == []
        return
    chunks = np.split(samples, np.cumsum(lengths)[:-1])
    check(list(cut(chunks, plan)), samples, plan)


@given(num_samples=st.integers(1, 500), plan=plans())
def test_an_array(num_samples: int, plan: WindowPlan) -> None:
    samples = full_scale_noise(num_samples, 0)
    windows = AudioWindows(samples, RATE_HZ, plan, source_rate_hz=RATE_HZ)
    assert windows.num_samples == num_samples
    blocks = list(windows)
    check(blocks, samples, plan)
    assert windows.num_windows == sum(len(block.windows) for block in blocks)
    for block in blocks:
        padded = (block.num_valid < plan.window_samples).any()
        assert np.shares_memory(block.windows, samples) == (not padded)


@given(
    num_samples=st.integers(1, 3 * CHUNK_FRAMES),
    window=st.integers(1000, 40000),
    step_share=st.floats(0.1, 1.0),
    block=st.integers(1, 5),
)
def test_a_streamed_file_is_the_whole_file(
    num_samples: int, window: int, step_share: float, block: int
) -> None:
    samples = full_scale_noise(num_samples, 1)
    plan = WindowPlan(window, max(1, int(step_share * window)), block)
    check(list(AudioWindows(wav(samples), RATE_HZ, plan, cache_samples=0)), samples, plan)
    check(list(AudioWindows(wav(samples), RATE_HZ, plan)), samples, plan)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("cache_samples", [0, CACHE_MAX_SAMPLES])
def test_resampling_in_chunks_is_resampling_the_whole(rate_hz: int, cache_samples: int) -> None:
    samples = full_scale_noise(3 * CHUNK_FRAMES + 1234, 2)
    plan = WindowPlan(16000, 1600, 5)
    windows = AudioWindows(wav(samples, rate_hz), RATE_HZ, plan, cache_samples=cache_samples)
    blocks = list(windows)
    # soxr gives the same samples either way; so does reading the file as a whole.
    check(blocks, soxr.resample(samples, rate_hz, RATE_HZ), plan)
    check(blocks, read_audio(wav(samples, rate_hz), RATE_HZ), plan)
    total = blocks[-1].starts[-1] + blocks[-1].num_valid[-1]
    assert windows.num_samples == pytest.approx(total, abs=1)


def test_stereo_that_cancels_in_parts_streams_as_it_is_read() -> None:
    rng = np.random.default_rng(3)
    channels = rng.uniform(-1, 1, (5 * CHUNK_FRAMES, 2)).astype(np.float32)
    channels[CHUNK_FRAMES : 3 * CHUNK_FRAMES, 1] = -channels[CHUNK_FRAMES : 3 * CHUNK_FRAMES, 0]
    plan = WindowPlan(5000, 2500, 3)
    blocks = list(AudioWindows(wav(channels, 44100), RATE_HZ, plan, cache_samples=0))
    check(blocks, read_audio(channels, RATE_HZ, source_rate_hz=44100), plan)


# Memory


def test_a_cached_file_is_decoded_once_and_its_windows_are_views() -> None:
    file = wav(full_scale_noise(50000, 4))
    windows = AudioWindows(file, RATE_HZ, WindowPlan(10000, 5000, 2))
    first = list(windows)
    file.close()
    second = list(windows)
    for before, after in zip(first, second, strict=True):
        assert np.shares_memory(before.windows, after.windows)
    # Blocks overlap in the same memory.
    for block, following in pairwise(first):
        assert np.shares_memory(block.windows, following.windows)


def test_a_streamed_file_is_decoded_again_for_each_iteration() -> None:
    windows = AudioWindows(
        wav(full_scale_noise(50000, 4)), RATE_HZ, WindowPlan(10000, 5000), cache_samples=49999
    )
    first, second = list(windows), list(windows)
    np.testing.assert_array_equal(first[0].windows, second[0].windows)
    assert not np.shares_memory(first[0].windows, second[0].windows)


def test_windows_cannot_be_written_to() -> None:
    # They overlap: one write would change many.
    (block,) = AudioWindows(np.zeros(50, np.float32), 16000, WindowPlan(9, 3), source_rate_hz=16000)
    assert not block.windows.flags.writeable


# Of Linux, VmHWM: getrusage tells a child of the peak of its parent.
_MEMORY = """
import re, resource, sys
from pathlib import Path
from voxport.runtime.windows import AudioWindows, WindowPlan
plan = WindowPlan(160000, 16000, 8)
def peak():
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
base = peak()
windows = AudioWindows(sys.argv[1], 16000, plan, cache_samples=int(sys.argv[2]))
count = sum(len(block.windows) for block in windows)
print(count, peak() - base)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_peak_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    grown = []
    minute = np.tile(full_scale_noise(800, 5), 10 * 60)
    for minutes, cache_samples in ((6, 0), (60, 0), (60, CACHE_MAX_SAMPLES)):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        run = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(path), str(cache_samples)],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        count, kilobytes = map(int, run.stdout.split())
        assert count == 60 * minutes - 9
        grown.append(kilobytes)
    # An hour as a whole is 220 MiB; the control, an hour that is kept, shows that it is seen.
    assert grown[1] < grown[0] + 8 * 1024
    assert grown[1] < 64 * 1024
    assert grown[2] > 200 * 1024


# What the header says


@pytest.mark.parametrize("promised", [None, 1, 100])
def test_a_header_that_promises_less_than_there_is(
    monkeypatch: pytest.MonkeyPatch, promised: int | None
) -> None:
    samples = full_scale_noise(1000, 6)

    @contextmanager
    def stream(*_: object, **__: object) -> Iterator[MonoStream]:
        yield MonoStream("a", promised, iter(np.split(samples, 10)))

    monkeypatch.setattr(windows_module, "mono_stream", stream)
    plan = WindowPlan(50, 20, 3)
    windows = AudioWindows("a.wav", RATE_HZ, plan, cache_samples=500)
    for _ in range(2):
        blocks = list(windows)
        check(blocks, samples, plan)
        # More than may be kept is not kept.
        assert windows.num_samples == promised


def test_errors_come_where_the_audio_breaks_off() -> None:
    content = io.BytesIO()
    soundfile.write(content, full_scale_noise(10 * CHUNK_FRAMES, 7), RATE_HZ, format="FLAC")
    cut_off = io.BytesIO(content.getvalue()[: len(content.getvalue()) // 2])
    windows = iter(AudioWindows(cut_off, RATE_HZ, WindowPlan(1000, 1000, 8), cache_samples=0))
    assert next(windows).starts[0] == 0
    with pytest.raises(AudioError, match="breaks off"):
        list(windows)


def test_nothing_to_cut() -> None:
    with pytest.raises(AudioError, match="no samples"):
        list(AudioWindows(wav(np.zeros(0)), RATE_HZ, WindowPlan(10, 5)))


# Sizes


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((0, 0), "step must be"),
        ((10, 0), "step must be"),
        ((10, 11), "step must be"),
        ((-5, -5), "step must be"),
        ((10, 5, 0), "at least 1"),
        ((2**50, 1), "take fewer"),
        ((160000, 16000, 2**40), "take fewer"),
    ],
)
def test_sizes_out_of_range(sizes: tuple[int, ...], reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        WindowPlan(*sizes)


@pytest.mark.parametrize(
    ("num_samples", "windows"), [(0, 0), (1, 1), (10, 1), (11, 2), (14, 2), (15, 3), (18, 3)]
)
def test_count(num_samples: int, windows: int) -> None:
    assert WindowPlan(10, 4).count(num_samples) == windows
