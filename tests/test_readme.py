"""The README tells the truth: its targets and commands exist (its example runs in tests/parity)."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from voxport.runtime.cli import find_commands

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z][a-z-]+)", README))
    listed = re.search(r"`make export`, (.+?)\.\n", README, re.DOTALL)
    assert listed is not None
    named |= set(re.findall(r"`([a-z-]+)`", listed.group(1)))
    assert {"export", "test", "verify", "check", "clean"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_exists() -> None:
    shell = "\n".join(re.findall(r"```sh\n(.+?)```", README, re.DOTALL))
    named = set(re.findall(r"^voxport ([a-z]+)", shell, re.MULTILINE))
    named |= set(re.findall(r"`voxport ([a-z]+)", README))
    assert {"export", "verify"} <= named
    assert named <= set(find_commands())


def test_every_decision_record_is_named_by_a_number() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{i + 1:04d}" for i in range(len(names))]


def test_every_picture_is_there_and_small() -> None:
    named = {ROOT / path for path in re.findall(r"!\[[^]]+\]\((.+?)\)", README)}
    assert named == set((ROOT / "docs" / "pictures").glob("*.svg"))
    for path in named:
        assert path.stat().st_size < 60_000
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 -- our own
