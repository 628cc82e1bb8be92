"""coremltools is optional, and quiet."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest
from voxport.export.coreml.tools import import_coremltools, quiet
from voxport.runtime.errors import MissingDependencyError


def test_a_missing_coremltools_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voxport\[coreml\]'"):
        import_coremltools()


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable
    with quiet():
        warnings.warn("advice", stacklevel=1)
        logging.getLogger("coremltools").error("noise")
        sys.stderr.write("progress")
    assert capsys.readouterr().err == ""
    assert logging.root.manager.disable == before
