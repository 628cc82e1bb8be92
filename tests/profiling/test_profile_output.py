"""Profiles as text, JSON and plots."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from profile_samples import STAGE
from voxport.runtime import MissingDependencyError, VoxportError
from voxport.runtime.profiling import (
    OperatorTime,
    Parts,
    Profile,
    StageProfile,
    Unavailable,
    side_by_side,
    table,
    write_plot,
)
from voxport.runtime.profiling.distribution import OPERATORS, SYNCHRONISED
from voxport.runtime.profiling.plot import COLOURS, svg
from voxport.runtime.profiling.table import PART_NAMES

CPU = replace(
    STAGE,
    device="cpu",
    basis=OPERATORS,
    parts=Parts(0.01, 0.02, 0.0, 0.36, 0.0, 0.01),
    operators=(
        OperatorTime("LSTM", "CPUExecutionProvider", 4, 0.24, 0.24),
        OperatorTime("Conv", "CPUExecutionProvider", 6, 0.12, 0.12),
    ),
)
MISSING = Unavailable("segmentation", "cuda", "no NVIDIA card was found")


def cells(text: str, name: str) -> list[str]:
    """The cells of the line that begins with a name."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name} ")]
    return line.strip().removeprefix(name).split()


def test_a_table() -> None:
    text = table(Profile((CPU,)))
    assert text.startswith(
        "segmentation fp32 on cpu: CPU: COMPUTING (efficiency 90%, from operator times)\n"
    )
    assert cells(text, "warm, median of 3") == ["400.00", "ms"]
    assert cells(text, "cold") == ["2000.00", "ms"]
    assert cells(text, "RTFx") == ["1600.0"]
    assert cells(text, "windows per second") == ["160.0"]
    assert cells(text, "peak memory, host") == ["300", "MB"]
    assert cells(text, "peak memory, device") == ["-"]
    assert cells(text, "device") == ["360.00", "90.0%"]
    assert cells(text, "LSTM") == ["CPU", "4", "240.00", "240.00", "66.7%"]
    assert "too small" not in text


def test_only_the_first_operators() -> None:
    text = table(Profile((CPU,)), top=1)
    assert "Conv" not in text
    assert cells(text, "1 others") == ["33.3%"]
    assert "LSTM" not in table(Profile((CPU,)), top=0)


def test_an_upper_bound_is_marked() -> None:
    operators = (OperatorTime("Conv", "CUDAExecutionProvider", 6, 0.01, None),)
    stage = replace(STAGE, basis=SYNCHRONISED, launch_share=0.95, operators=operators)
    text = table(Profile((stage,)))
    assert "MIXED (efficiency <= 50%, from synchronised calls)" in text
    assert "  ! launching operators takes the host 95% of the calls" in text
    assert cells(text, "Conv") == ["CUDA", "6", "-", "10.00", "100.0%"]
    assert "the GPU's are not in the profile" in text
    assert "the GPU's" not in table(Profile((STAGE,)))


def test_devices_side_by_side() -> None:
    text = side_by_side(Profile((CPU, STAGE), (MISSING,)))
    lines = text.splitlines()
    assert lines[0] == "segmentation fp32"
    assert lines[1].split() == ["cpu", "cuda:0"]
    assert cells(text, "efficiency") == ["90%", "50%"]
    assert cells(text, "warm, median of 3") == ["400.00", "ms", "200.00", "ms"]
    assert cells(text, "device (ms)") == ["360.00", "100.00"]
    assert cells(text, "share of copies") == ["0.0%", "15.0%"]
    assert "operators of segmentation on cuda:0" in text
    assert lines[-1] == "segmentation on cuda: not run: no NVIDIA card was found"


def test_artifacts_are_not_mixed_side_by_side() -> None:
    other = replace(CPU, name="embedding")
    lines = side_by_side(Profile((CPU, STAGE, other)), top=0).splitlines()
    assert [line for line in lines if line.endswith(" fp32")] == [
        "segmentation fp32",
        "embedding fp32",
    ]


def test_warnings_side_by_side_name_their_device() -> None:
    stage = replace(STAGE, num_device_nodes=10**6)
    assert "  ! cuda:0: too small to be worth a GPU" in side_by_side(Profile((CPU, stage)))


def test_nothing_to_show() -> None:
    assert table(Profile(())) == side_by_side(Profile(())) == ""
    assert table(Profile((), (MISSING,))).startswith("segmentation on cuda: not run")


def test_json() -> None:
    data = json.loads(Profile((STAGE,), (MISSING,)).to_json())
    assert data["schema_version"] == 1
    (stage,) = data["stages"]
    assert stage["basis"] == "kernel events"
    assert stage["status"] == "MIXED"
    assert stage["parts"]["device_s"] == stage["device_s"] == 0.1
    assert stage["efficiency"] == pytest.approx(0.5)
    assert stage["peak_device_bytes"] is None
    assert stage["operators"][0]["device_s"] == 0.1
    assert stage["warnings"] == []
    assert data["unavailable"] == [
        {"name": "segmentation", "device": "cuda", "reason": "no NVIDIA card was found"}
    ]


# Plots


def document(profile: Profile) -> ElementTree.Element:
    return ElementTree.fromstring(svg(profile))  # noqa: S314 -- our own


def test_bars_are_as_long_as_their_parts() -> None:
    root = document(Profile((CPU, STAGE)))
    width_of = "{http://www.w3.org/2000/svg}rect[@fill='%s']"
    bars = {
        field: [float(rect.get("width", "")) for rect in root.findall(width_of % colour)][1:]
        for field, colour in COLOURS.items()
    }
    # The longest, of 400 ms, fills the 860 pixels.
    for field, (first, second) in bars.items():
        assert first == pytest.approx(getattr(CPU.parts, field) / 0.4 * 860, abs=0.01)
        assert second == pytest.approx(getattr(STAGE.parts, field) / 0.4 * 860, abs=0.01)
    # The parts of the last bar follow each other.
    rectangles = root.findall("{http://www.w3.org/2000/svg}rect")[-len(COLOURS) :]
    x = 20.0
    for rectangle in rectangles:
        assert float(rectangle.get("x", "")) == pytest.approx(x, abs=0.1)
        x += float(rectangle.get("width", ""))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[: len(PART_NAMES)] == list(PART_NAMES.values())
    assert texts[-1] == "segmentation fp32 on cuda:0: 200.0 ms, MIXED (50%)"


def test_every_part_has_a_name_and_a_colour() -> None:
    fields = list(Parts.__dataclass_fields__)
    assert list(PART_NAMES) == list(COLOURS) == fields


def test_names_are_escaped_in_a_plot() -> None:
    stage: StageProfile = replace(STAGE, name="a<b>&'c")
    root = document(Profile((stage,)))
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-1].startswith("a<b>&'c fp32 on cuda:0")


def test_a_plot_of_nothing_is_a_document() -> None:
    root = document(Profile(()))
    assert root.get("width") == "900"


def test_an_svg_file(tmp_path: Path) -> None:
    write_plot(Profile((STAGE,)), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8") == svg(Profile((STAGE,)))


def test_a_png_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_plot(Profile((CPU, STAGE)), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_png_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install voxport\[plot\]"):
        write_plot(Profile((STAGE,)), tmp_path / "plot.png")


def test_plots_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(VoxportError, match=r"must end in \.svg or \.png"):
        write_plot(Profile(()), tmp_path / "plot.pdf")
    with pytest.raises(VoxportError, match="cannot be written"):
        write_plot(Profile(()), tmp_path / "missing" / "plot.svg")
