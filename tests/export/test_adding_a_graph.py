"""The guide ``docs/adding-a-graph.md``, step by step: its code runs, its places exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxport.export import run
from voxport.export.networks import Networks
from voxport.export.run import ExportOptions, run_export, run_verify
from voxport.export.verification.cases import Speech
from voxport.runtime import Manifest
from voxport.runtime.cli import find_commands

pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-graph.md").read_text(encoding="utf-8")


def test_its_steps_lead_to_a_graph_that_runs(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    *written, running = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
    assert len(written) == 3
    names: dict[str, Any] = {"__name__": "guide"}
    for block in written:
        exec(compile(block, "adding-a-graph.md", "exec"), names)  # noqa: S102 -- the guide is ours
    # Step 4, the line in the table; the others need no checkpoint's graphs here.
    monkeypatch.setattr(run, "export_specs", lambda _, **__: [names["frame_rms_spec"]()])
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    run_export(tiny_networks, tmp_path, ExportOptions(only=("frame_rms",)))
    assert run_verify(tiny_networks, tmp_path) == 0
    rows = Manifest.read(tmp_path / "manifest.json").artifacts
    assert {row.key for row in rows} == {("frame_rms", form, "fp32") for form in ("onnx", "coreml")}
    assert "`frame_rms`" in (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    monkeypatch.setenv("VOXPORT_MODELS", str(tmp_path))
    exec(compile(running, "adding-a-graph.md", "exec"), names)  # noqa: S102
    np.testing.assert_array_equal(names["rms"], np.full((1, 10), 0.5))


def test_the_places_that_it_names_exist() -> None:
    paths = set(re.findall(r"`((?:graphs|export|runtime|tests)/[a-z_/.]*)`", GUIDE))
    assert len(paths) >= 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    for name, path in re.findall(r"`([A-Za-z_]+)` in `([a-z_/]+\.py)`", GUIDE):
        assert re.search(rf"^(def )?{name}\b", (ROOT / path).read_text("utf-8"), re.MULTILINE), name


def test_its_commands_exist() -> None:
    (shell,) = re.findall(r"```sh\n(.+?)```", GUIDE, re.DOTALL)
    named = re.findall(r"^voxport ([a-z]+)", shell, re.MULTILINE)
    assert named == ["export", "verify"]
    assert set(named) <= set(find_commands())
