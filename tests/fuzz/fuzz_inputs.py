"""What the runtime reads from outside, broken in many ways: input number n is always the same.

Kinds of input stand in one table, ``KINDS``; a kind is its seeds and what reads it.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import soundfile
import tiny_artifacts
from onnx import helper
from signals import full_scale_noise, speechlike
from voxport.runtime import AudioError, Description, Manifest, Options, load
from voxport.runtime.annotation.formats import FORMATS, format_turns
from voxport.runtime.annotation.rttm import read_rttm, write_rttm
from voxport.runtime.annotation.scoring import score
from voxport.runtime.annotation.timeline import timeline_svg
from voxport.runtime.audio import read_audio
from voxport.runtime.manifest import METADATA_KEY
from voxport.runtime.windows import AudioWindows, WindowPlan

RATE_HZ = 16000
# Sizes, lengths and counts that parsers get wrong.
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "\0", "../../x", "/dev/zero", "\ud800", "a" * 5000),
    *([], {}, [[]], {"": {}}, [0] * 1000, "float32", "batch", ["batch", 1]),
)
_HEADER_BYTES = 128


# Mutations


def mutated_bytes(content: bytes, others: list[bytes], random: Random) -> bytes:
    """A few random damages or none, most of them near the start, where the headers are."""
    data = bytearray(content)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 8, 40))):
        if not data:
            break
        _damage(data, others, random)
    return bytes(data)


def _damage(data: bytearray, others: list[bytes], random: Random) -> None:
    near = min(len(data), _HEADER_BYTES if random.random() < 0.6 else len(data))
    start = random.randrange(near)
    length = random.choice((1, 2, 4, 8, 100, 5000))
    match random.randrange(8):
        case 0 | 1:
            data[start] ^= 1 << random.randrange(8)
        case 2:
            data[start] = random.randrange(256)
        case 3 | 4:
            width = random.choice((1, 2, 4, 8))
            number = random.choice(_NUMBERS) & (256**width - 1)
            order: Any = random.choice(("little", "big"))
            data[start : start + width] = number.to_bytes(width, order)
        case 5:
            del data[start : start + length]
        case 6:
            other = random.choice(others)
            place = random.randrange(len(other))
            data[start:start] = other[place : place + length]
        case 7:
            del data[random.randrange(len(data)) :]


def mutated_json(text: bytes, others: list[bytes], random: Random) -> bytes:
    """Values replaced, moved, removed or nested anywhere in the document; or damaged bytes."""
    if random.random() < 0.3:
        return mutated_bytes(text, others, random)
    document = json.loads(text)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 4))):
        document = _changed(document, random)
    return json.dumps(document).encode()


def _changed(value: Any, random: Random) -> Any:
    """One change, at a random depth."""
    keys = list(value) if isinstance(value, dict) else []
    if isinstance(value, list):
        keys = list(range(len(value)))
    if keys and random.random() < 0.9:
        key = random.choice(keys)
        if random.random() < 0.1:
            del value[key]
        else:
            value[key] = _changed(value[key], random)
        return value
    if isinstance(value, dict) and random.random() < 0.3:
        return {**value, random.choice(("x", "", "name", "0")): _odd(value, random)}
    if random.random() < 0.05:
        for _ in range(random.choice((1, 40, 900))):
            value = [value]
        return value
    return _odd(value, random)


def _odd(value: Any, random: Random) -> Any:
    """Some value, half the time of the same type."""
    alike = [odd for odd in _VALUES if type(odd) is type(value)]
    return deepcopy(random.choice(alike if alike and random.random() < 0.5 else _VALUES))


# Audio


_SOUNDFILE_KINDS = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "ALAC_16")),
    *(("W64", "PCM_16"), ("RF64", "PCM_24")),
)


@cache
def audio_seeds() -> list[bytes]:
    """A fifth of a second in each format, some of it in stereo, 8 to 48 kHz."""
    seeds = []
    for number, (kind, subtype) in enumerate(_SOUNDFILE_KINDS):
        channels = 1 if subtype == "GSM610" else 1 + number % 2
        rate_hz = 48000 if subtype == "OPUS" else (8000, 16000, 44100)[number % 3]
        samples = np.stack([speechlike(rate_hz // 5, seed) for seed in range(channels)], axis=1)
        content = io.BytesIO()
        soundfile.write(content, samples, rate_hz, format=kind, subtype=subtype)
        seeds.append(content.getvalue())
    if importlib.util.find_spec("av") is not None:
        seeds += [_media("aac", "ipod"), _media("aac", "matroska"), _media("aac", "adts")]
    return seeds


def _media(codec: str, container: str) -> bytes:
    """What only ffmpeg reads; half a second."""
    import av  # noqa: PLC0415 -- optional

    content = io.BytesIO()
    with av.open(content, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=RATE_HZ)
        stream.layout = "mono"
        for start in range(0, RATE_HZ // 2, 1024):
            frame = av.AudioFrame.from_ndarray(
                full_scale_noise(1024, start)[None], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = RATE_HZ, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return content.getvalue()


def read_as_audio(content: bytes, folder: Path) -> None:
    """Whole and in windows: both refuse, or both give the same."""
    path = folder / "input"
    path.write_bytes(content)
    plan = WindowPlan(8000, 4000, 2)
    try:
        samples = read_audio(path, RATE_HZ)
    except AudioError:
        for source in (path, io.BytesIO(content)):
            _expect_audio_error(lambda source=source: list(AudioWindows(source, RATE_HZ, plan)))
        raise
    if samples.dtype != np.float32 or samples.ndim != 1 or not np.isfinite(samples).all():
        raise AssertionError(f"{samples.dtype} {samples.shape}")
    blocks = list(AudioWindows(io.BytesIO(content), RATE_HZ, plan, cache_samples=0))
    end = blocks[-1].starts[-1] + blocks[-1].num_valid[-1]
    first = samples[: plan.window_samples]
    if end != len(samples) or not np.array_equal(blocks[0].windows[0][: len(first)], first):
        raise AssertionError("windows differ from the whole")


def _expect_audio_error(action: Callable[[], object]) -> None:
    try:
        action()
    except AudioError:
        return
    raise AssertionError("windows are read of what read_audio refuses")


# Artifacts


@cache
def _artifact() -> tuple[Description, bytes]:
    return tiny_artifacts.linear()


def metadata_seeds() -> list[bytes]:
    """What the one graph says of itself."""
    return [_artifact()[0].to_json().encode()]


def description_seeds() -> list[bytes]:
    demo = [described for described, _ in tiny_artifacts.demo_artifacts()]
    return metadata_seeds() + [described.to_json().encode() for described in demo]


@cache
def manifest_seeds() -> list[bytes]:
    rows = [tiny_artifacts.row(*artifact) for artifact in tiny_artifacts.demo_artifacts()]
    return [Manifest(tuple(rows)).to_json().encode(), Manifest(tuple(rows[:1])).to_json().encode()]


def read_as_description(content: bytes, _: Path) -> None:
    described = Description.from_json(content.decode(errors="replace"), "input")
    described.to_json()
    if "sample_rate_hz" in described.recipe:
        described.figure("sample_rate_hz", int)


def read_as_manifest(content: bytes, folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(content)
    manifest = Manifest.read(path)
    manifest.to_json()
    manifest.find("cosine_distance", "fp32")


def read_as_metadata(content: bytes, folder: Path) -> None:
    """A sound graph that says this of itself."""
    model = onnx.load_from_string(_artifact()[1])
    helper.set_model_props(model, {METADATA_KEY: content.decode(errors="replace")})
    path = folder / "input.onnx"
    path.write_bytes(model.SerializeToString())
    session = load(path, device="cpu", options=Options(intra_op_threads=1))
    session.run(x=np.zeros((2, 3), np.float32))


# RTTM


def rttm_seeds() -> list[bytes]:
    """Two recordings, comments, other records, other line ends."""
    lines = [
        b";; made by hand",
        b"SPKR-INFO a 1 <NA> <NA> <NA> unknown S1 <NA> <NA>",
        b"SPEAKER a 1 0.000 1.250 <NA> <NA> S1 <NA> <NA>",
        b"SPEAKER a 1 1.000 2.5e-1 <NA> <NA> S2 <NA> <NA>",
        b"SPEAKER b 1 7.75 100 <NA> <NA> \xc3\xa9\xf0\x9f\x8e\xa4 0.9 <NA> more",
        b"",
    ]
    long = b"".join(
        b"SPEAKER a 1 %d.5 3.0 <NA> <NA> S%d <NA> <NA>\n" % (n, n % 9) for n in range(99)
    )
    return [b"\n".join(lines), b"\xef\xbb\xbf" + b"\r\n".join(lines), long]


def read_as_rttm(content: bytes, folder: Path) -> None:
    """What is read is written and read again the same, and can be shown and scored."""
    path = folder / "input.rttm"
    path.write_bytes(content)
    for file_id, turns in read_rttm(path).items():
        again = read_rttm(io.StringIO(write_rttm(turns, file_id)))
        if again != ({file_id: turns} if turns else {}):
            raise AssertionError(f"{turns} became {again}")
        for name in FORMATS:
            format_turns(turns, name, file_id).encode()
        if len(timeline_svg(turns, turns.end_s)) > 2**22 or score(turns, turns).der:
            raise AssertionError("too large a picture, or not like itself")


# The table


@dataclass(frozen=True)
class Kind:
    """``share`` of 20 inputs are of this kind."""

    name: str
    share: int
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, list[bytes], Random], bytes]
    read: Callable[[bytes, Path], None]


KINDS = (
    Kind("audio", 8, audio_seeds, mutated_bytes, read_as_audio),
    Kind("rttm", 2, rttm_seeds, mutated_bytes, read_as_rttm),
    Kind("manifest", 4, manifest_seeds, mutated_json, read_as_manifest),
    Kind("description", 4, description_seeds, mutated_json, read_as_description),
    Kind("onnx metadata", 2, metadata_seeds, mutated_json, read_as_metadata),
)


def kind_of(number: int) -> Kind:
    """Kinds take turns."""
    turns = [kind for kind in KINDS for _ in range(kind.share)]
    return turns[number % len(turns)]


def input_of(number: int) -> bytes:
    """The content of an input."""
    kind = kind_of(number)
    seeds = kind.seeds()
    random = Random(number)  # noqa: S311 -- repeatable, not secret
    return kind.mutate(random.choice(seeds), seeds, random)
