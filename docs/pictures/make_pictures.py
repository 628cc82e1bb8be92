"""The README's pictures, from the artifacts and 30 s of conversation: SVG, with numpy alone.

Nothing of the recording is stored but what the pictures show. The highlights are those of a
generated stream: noise that swells, and messages that follow it.

Usage: python docs/pictures/make_pictures.py --models models SAMPLE.wav [-o docs/pictures]
"""

from __future__ import annotations

import argparse
import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxport.runtime import load, read_audio
from voxport.runtime.highlights import ChatCounts, Highlighter
from voxport.runtime.highlights.plot import score_svg
from voxport.runtime.highlights.selection import Selection

Image = npt.NDArray[np.float32]
Ticks = Sequence[tuple[float, str]]
# Readable on white and on black paper, as in the timelines.
_GREY = "#757575"
_HIGHLIGHT = "#E69F00"
# Viridis at five places; between them it is nearly straight.
_COLOURS = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], float
)
# Shades of a picture: few, for a small file.
_SHADES = 48
_WIDTH = 960
# Where both of the sample's speakers talk.
_START_S = 8


@dataclass(frozen=True)
class Panel:
    """A place in a picture, in pixels."""

    left: float
    top: float
    width: float
    height: float

    def image(self, values: Image, low: float, high: float) -> str:
        """(rows, columns) with the first row at the bottom, from ``low`` to ``high``."""
        place = (
            f'x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}"'
        )
        shades = np.clip((values - low) / (high - low), 0, 1) * (_SHADES - 1)
        data = base64.b64encode(_png(np.round(shades[::-1]).astype(np.uint8))).decode()
        return (
            f'<image {place} preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="data:image/png;base64,{data}"/>'
        )

    def below(self, ticks: Ticks, name: str) -> Iterator[str]:
        """An axis; ticks by their share of the width."""
        bottom = self.top + self.height
        for share, label in ticks:
            x = self.left + share * self.width
            yield f'<path d="M{x:.1f} {bottom:g}v4" stroke="{_GREY}"/>'
            yield _text(x, bottom + 16, label)
        yield _text(self.left + self.width / 2, bottom + 32, name)

    def beside(self, ticks: Ticks, name: str, *, right: bool = False) -> Iterator[str]:
        """An axis; ticks by their share of the height, from the bottom."""
        edge, sign = (self.left + self.width, 1) if right else (self.left, -1)
        anchor = "start" if right else "end"
        for share, label in ticks:
            y = self.top + (1 - share) * self.height
            yield f'<path d="M{edge:g} {y:.1f}h{4 * sign}" stroke="{_GREY}"/>'
            yield _text(edge + 7 * sign, y + 4, label, anchor)
        x, y = edge + 44 * sign, self.top + self.height / 2
        turned = f'transform="rotate(-90 {x:g} {y:g})"'
        yield f'<text x="{x:g}" y="{y:g}" text-anchor="middle" {turned}>{name}</text>'

    def outline(self, start: float, end: float) -> str:
        """Around a share of the width."""
        return (
            f'<rect x="{self.left + start * self.width:.1f}" y="{self.top - 2:g}" '
            f'width="{(end - start) * self.width:.1f}" height="{self.height + 4:g}" fill="none" '
            f'stroke="{_HIGHLIGHT}" stroke-width="2"/>'
        )

    def colours(self, low: float, high: float, name: str) -> Iterator[str]:
        """A scale of the colours."""
        yield self.image(np.linspace(low, high, _SHADES, dtype=np.float32)[:, None], low, high)
        ticks = [(share, f"{low + share * (high - low):.0f}") for share in (0.0, 0.5, 1.0)]
        yield from self.beside(ticks, name, right=True)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _png(shades: npt.NDArray[np.uint8]) -> bytes:
    """(rows, columns) indices into the colours."""
    rows, columns = shades.shape
    places = np.linspace(0, len(_COLOURS) - 1, _SHADES)
    palette = np.stack([np.interp(places, range(5), channel) for channel in _COLOURS.T], axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in shades)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def svg(name: str, height: int, parts: Sequence[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}" '
        f'font-family="sans-serif" font-size="12" fill="{_GREY}">'
    )
    return "\n".join((opening, f"<title>{name}</title>", *parts, "</svg>\n"))


def _heard(sample: Path, rate_hz: int, num_samples: int) -> Image:
    start = _START_S * rate_hz
    return read_audio(sample, rate_hz)[start : start + num_samples]


def slaney_mel(hz: float) -> float:
    """librosa's scale: straight to 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000)) / float(np.log(6.4))


def htk_mel(hz: float) -> float:
    return 1127 * float(np.log1p(hz / 700))


def band_ticks(
    frequencies_hz: Sequence[int], mels: Sequence[float], edges: Sequence[float]
) -> Ticks:
    """Where the bands of these centres are; the bands lie between two ``edges`` of the scale."""
    low, high = edges
    return [
        ((mel - low) / (high - low), f"{hz}") for hz, mel in zip(frequencies_hz, mels, strict=True)
    ]


def mel_matrix(models: Path, sample: Path) -> str:
    """A stretch with its short segments side by side, and one long segment of it alone."""
    with load("mel_matrix", models=models, device="cpu") as session:
        recipe = session.description.recipe
        rate_hz, window = recipe["sample_rate_hz"], recipe["window_samples"]
        waveform = _heard(sample, rate_hz, window)[None]
        power = session.run(waveform=waveform)["matrix"][0]
    decibels = 10 * np.log10(np.maximum(power, recipe["configuration"]["amin"]))
    shown = 20
    decibels -= decibels[:shown].max()
    chosen = int(np.argmax(power[:shown].sum(axis=(1, 2, 3))))
    length_s = recipe["long_segment_samples"] / rate_hz
    num_short, num_mels = decibels.shape[1:3]
    frequencies = [250, 500, 1000, 1500, 2000]
    bands = band_ticks(frequencies, [*map(slaney_mel, frequencies)], (0, slaney_mel(rate_hz / 2)))
    side_by_side = decibels[:shown].transpose(2, 0, 1, 3).reshape(num_mels, -1)
    whole = Panel(62, 26, 810, 130)
    seconds = [(share, f"{share * shown * length_s:g}") for share in np.linspace(0, 1, 6)]
    parts = [
        _text(
            whole.left, 16, f"{shown} long segments of {length_s:g} s; one of them below", "start"
        ),
        whole.image(side_by_side, -60, 0),
        whole.outline(chosen / shown, (chosen + 1) / shown),
        *whole.below(seconds, "time (s)"),
        *whole.beside(bands, "frequency (Hz)"),
    ]
    short_ms = 1000 * length_s / num_short
    for index, matrix in enumerate(decibels[chosen]):
        panel = Panel(62 + 415 * index, 230, 395, 192)
        # Frames are centred: the first on the segment's first sample, the last on its end.
        frames = matrix.shape[1]
        times = [((s * (frames - 1) + 0.5) / frames, f"{s * short_ms:g}") for s in (0.0, 0.5, 1.0)]
        label = f"short segment {index + 1} of {num_short}: {' x '.join(map(str, matrix.shape))}"
        parts += [_text(panel.left, 220, label, "start"), panel.image(matrix, -60, 0)]
        parts += panel.below(times, "time (ms)")
        if index == 0:
            parts += panel.beside(bands, "frequency (Hz)")
    parts += Panel(890, 230, 14, 192).colours(-60, 0, "power (dB below maximum)")
    return svg("Mel matrices of conversation", 468, parts)


def vggish_examples(models: Path, sample: Path) -> str:
    """The log-mel examples that a VGGish is given, with gaps between them."""
    with load("vggish_frontend", models=models, device="cpu") as session:
        recipe = session.description.recipe
        shown = 8
        length = recipe["window_samples"] + (shown - 1) * recipe["step_samples"]
        waveform = _heard(sample, recipe["sample_rate_hz"], length)[None, None]
        examples = session.run(waveform=waveform)["examples"][0]
    step_s = recipe["step_samples"] / recipe["sample_rate_hz"]
    given = recipe["configuration"]
    frequencies = [200, 500, 1000, 2000, 4000, 7000]
    edges = (htk_mel(given["low_frequency_hz"]), htk_mel(given["high_frequency_hz"]))
    bands = band_ticks(frequencies, [*map(htk_mel, frequencies)], edges)
    gap, width = 6.0, 810 / shown
    title = f"{shown} examples of {examples.shape[1]} frames x {examples.shape[2]} bands"
    parts = [_text(62, 16, title, "start")]
    low, high = float(np.floor(examples.min())), float(np.ceil(examples.max()))
    for index, example in enumerate(examples):
        panel = Panel(62 + index * width, 26, width - gap, 192)
        parts.append(panel.image(example.T, low, high))
        parts += panel.below([(0.0, f"{index * step_s:.2f}")], "")
        if index == 0:
            parts += panel.beside(bands, "frequency (Hz)")
    parts.append(_text(62 + 405, 250, "start of the example (s)"))
    parts += Panel(890, 26, 14, 192).colours(low, high, "log of mel magnitude")
    return svg("What VGGish hears of a conversation", 260, parts)


def highlights(models: Path) -> str:
    """What `voxport highlights --plot` draws, of a generated stream."""
    rate_hz, duration_s = 16000, 600
    rng = np.random.default_rng(0)
    time_s = np.arange(rate_hz * duration_s) / rate_hz
    level = np.full(len(time_s), 0.03)
    messages = [rng.uniform(0, duration_s, 150)]
    for centre_s, width_s, loud, chatty in ((95, 3, 4, 40), (250, 6, 2, 90), (430, 2, 6, 15)):
        level *= 1 + loud * np.exp(-(((time_s - centre_s) / width_s) ** 2))
        messages.append(rng.normal(centre_s + 4, 4, chatty))
    level *= 1 + 0.3 * np.sin(2 * np.pi * time_s / 47)
    samples = (level * rng.standard_normal(len(time_s))).astype(np.float32)
    chat = ChatCounts.of_messages(np.concatenate(messages))
    with Highlighter(models=models, device="cpu") as highlighter:
        result = highlighter(
            samples, chat, source_rate_hz=rate_hz, selection=Selection(min_gap_s=5.0)
        )
    return score_svg(result, "Ten generated minutes: noise that swells three times, with chat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sample", type=Path, help="`voxport fetch sample.wav` tells where it is")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    pictures = {
        "mel_matrix": mel_matrix(options.models, options.sample),
        "vggish_examples": vggish_examples(options.models, options.sample),
        "highlights": highlights(options.models),
    }
    for name, text in pictures.items():
        (options.output / f"{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
