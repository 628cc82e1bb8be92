"""Configurations of graphs: read from texts, recorded in recipes, read back; what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pytest
import tiny_artifacts
from voxport.export import configuration
from voxport.export.configuration import configured, recorded, recorded_configurations
from voxport.export.errors import ExportError
from voxport.runtime import ArtifactError, ArtifactRow


@dataclass(frozen=True)
class Config:
    size: int = 3
    scale: float = 1.0
    bias: bool = True
    kind: Literal["mean", "none"] = "mean"
    floor: float | None = 0.5
    ref: float | Literal["max"] = 1.0
    bands: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be 1 or more, got {self.size}")


@pytest.fixture(autouse=True)
def _one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "DEFAULTS", {"graph": Config()})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("size=5", Config(size=5)),
        (" graph.size = 5 ", Config(size=5)),
        ("scale=2", Config(scale=2.0)),
        ("scale=1e-3", Config(scale=1e-3)),
        ("bias=false", Config(bias=False)),
        ("kind=none", Config(kind="none")),
        ("floor=none", Config(floor=None)),
        ("floor=null", Config(floor=None)),
        ("ref=max", Config(ref="max")),
        ("ref=0.1", Config(ref=0.1)),
        ("bands=[4, 5, 6]", Config(bands=(4, 5, 6))),
    ],
)
def test_settings(setting: str, expected: Config) -> None:
    text = setting if "graph" in setting else f"graph.{setting}"
    found = configured([text])["graph"]
    assert found == expected
    assert [type(value) for value in asdict(found).values()] == [
        type(value) for value in asdict(expected).values()
    ]


def test_the_last_of_several_settings_wins() -> None:
    settings = ["graph.size=5", "graph.bias=false", "graph.size=6"]
    assert configured(settings) == {"graph": Config(size=6, bias=False)}
    assert configured([]) == {"graph": Config()}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("size=5", "is not of the form artifact.name=value"),
        ("graph.size", "is not of the form artifact.name=value"),
        ("other.size=5", "'other' has no configuration; those that have: graph"),
        ("graph.length=5", "graph has no 'length'; there are: size, scale"),
        ("graph.size=five", "graph.size cannot be 'five': expected a whole number"),
        ("graph.size=5.5", "expected a whole number"),
        ("graph.size=true", "expected a whole number"),
        ("graph.size=none", "expected a whole number"),
        ("graph.size=0", "graph: size must be 1 or more, got 0"),
        ("graph.scale=nan", "expected a number"),
        ("graph.scale=1e999", "expected a number"),
        (f"graph.scale={10**400}", "expected a number"),
        ("graph.bias=1", "expected true or false"),
        ("graph.kind=median", "expected mean or none"),
        ("graph.floor=low", "expected a number or none"),
        ("graph.ref=min", "expected a number or max"),
        ("graph.bands=4", "expected a JSON list of a whole number"),
        ("graph.bands=[]", "expected a JSON list of a whole number"),
        ("graph.bands=[1, 2.5]", "expected a JSON list of a whole number"),
        (f"graph.bands={'[' * 100_000}", "expected a JSON list of a whole number"),
    ],
)
def test_settings_that_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ExportError) as caught:
        configured([setting])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


def row(held: Any, name: str = "graph") -> ArtifactRow:
    described, content = tiny_artifacts.linear(name)
    return tiny_artifacts.row(replace(described, recipe={"configuration": held}), content)


@pytest.mark.parametrize("config", [Config(), Config(bands=(7,), floor=None, ref="max", size=9)])
def test_what_is_recorded_is_read_back(config: Config) -> None:
    recipe = json.loads(json.dumps(recorded(config)))
    assert recipe == recorded(config)
    rows = [row(recipe["configuration"]), row("nothing to read", "linear")]
    assert recorded_configurations(rows) == {"graph": config}


def test_without_an_artifact_the_defaults_hold() -> None:
    assert recorded_configurations([]) == {"graph": Config()}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (None, "its recipe must hold configuration"),
        ({"size": 3}, "its recipe must hold configuration"),
        ({**recorded(Config())["configuration"], "more": 1}, "its recipe must hold configuration"),
        ({**recorded(Config())["configuration"], "size": "3"}, "its recipe holds size '3'"),
        ({**recorded(Config())["configuration"], "floor": [1]}, "its recipe holds floor [1]"),
        ({**recorded(Config())["configuration"], "size": -1}, "size must be 1 or more"),
    ],
)
def test_damaged_records_are_refused(held: Any, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        recorded_configurations([row(held)])
    assert message in str(caught.value)
