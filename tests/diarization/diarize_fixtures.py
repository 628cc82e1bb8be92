"""Fixtures of the tests of ``voxport diarize``."""

from __future__ import annotations

import pytest
from fake_diarizer import FakeDiarizer, Run
from voxport.runtime.cli import main
from voxport.runtime.diarization import diarizer


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeDiarizer]:
    FakeDiarizer.made, FakeDiarizer.heard = [], []
    monkeypatch.setattr(diarizer, "Diarizer", FakeDiarizer)
    return FakeDiarizer


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        status = main(["diarize", *map(str, arguments)])
        return status, *capsys.readouterr()

    return act
