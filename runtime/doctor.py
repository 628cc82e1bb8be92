"""``voxport devices`` and ``voxport doctor``: what is there, what works, and why not."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .availability import DeviceStatus, device_statuses
from .checks import Check, all_checks
from .commands import Command
from .devices import AUTO, DevicePlan, plan_device
from .environment import Environment, probe_environment
from .errors import DeviceError

_WIDTH = 100


def _write_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=1) + "\n")


@dataclass(frozen=True)
class Row:
    """A line of a report: two short columns, text, and what to do about it."""

    first: str
    second: str
    text: str
    remedy: str = ""


def table(rows: Iterable[Row]) -> str:
    """Columns as wide as their widest cell; text is wrapped, remedies get a line of their own."""
    cells = list(rows)
    first = max((len(row.first) for row in cells), default=0)
    second = max((len(row.second) for row in cells), default=0)
    lines = []
    for row in cells:
        start = f"{row.first:{first}}  {row.second:{second}}  "
        indent = " " * len(start)
        lines += textwrap.wrap(
            start + row.text,
            _WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if row.remedy:
            # Whole, to be copied.
            lines.append(f"{indent}-> {row.remedy}")
    return "".join(f"{line.rstrip()}\n" for line in lines)


# voxport devices


def _automatic(environment: Environment) -> DevicePlan | str:
    """What auto takes, or why it can take nothing."""
    try:
        return plan_device(AUTO, environment)
    except DeviceError as error:
        return str(error)


def _device_row(status: DeviceStatus) -> Row:
    verdict = "usable" if status.usable else "not usable" if status.available else "not there"
    name = status.details.get("name")
    text = f"{name}: {status.reason}" if name else status.reason
    return Row(status.device, verdict, text, status.remedy)


def _told(chosen: DevicePlan | str) -> str:
    if isinstance(chosen, str):
        return chosen
    return f"auto takes {chosen.device}" + (", as a fallback" if chosen.is_fallback else "")


def _run_devices(options: argparse.Namespace) -> int:
    environment = probe_environment()
    statuses = device_statuses(environment)
    chosen = _automatic(environment)
    if options.json:
        automatic = (
            {"device": None, "reasons": [chosen]} if isinstance(chosen, str) else asdict(chosen)
        )
        _write_json({"devices": [asdict(status) for status in statuses], "auto": automatic})
        return 0
    sys.stdout.write(table(map(_device_row, statuses)))
    sys.stdout.write(f"\n{_told(chosen)}\n")
    return 0


def _configure_devices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


# voxport doctor


def _check_row(check: Check) -> Row:
    return Row(check.status, check.name, check.detail, check.remedy)


def _run_doctor(options: argparse.Namespace) -> int:
    environment = probe_environment()
    checks = all_checks(environment, options.models)
    if options.json:
        _write_json(
            {"checks": [asdict(check) for check in checks], "environment": asdict(environment)}
        )
    else:
        sys.stdout.write(table(map(_check_row, checks)))
    return int(any(check.status == "problem" for check in checks))


def _configure_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, help="folder with the artifacts")
    parser.add_argument("--json", action="store_true", help="print JSON")


DEVICES = Command("list the devices, each usable or why not", _configure_devices, _run_devices)
DOCTOR = Command("check what is installed and what was exported", _configure_doctor, _run_doctor)
