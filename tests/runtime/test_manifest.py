"""The manifest and the metadata: what is written comes back, and nothing else is believed."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    ArtifactRow,
    Description,
    Manifest,
    TensorSpec,
)
from voxport.runtime.manifest import DTYPES, MANIFEST_NAME, SCHEMA_VERSION

DESCRIPTION = Description(
    name="net",
    precision="fp32",
    inputs=(
        TensorSpec("waveform", "float32", ("batch", 1, "samples")),
        TensorSpec("masks", "bool", ("batch", 3)),
    ),
    outputs=(TensorSpec("embeddings", "float32", ("batch", 192)),),
    minimums={"samples": 400, "batch": 0},
    maximums={"samples": 500},
    sizes={"batch": (1, 32)},
    recipe={"sample_rate_hz": 16000, "classes": [[], [0], [0, 1]], "threshold": 0.5},
    checkpoints=({"name": "c", "origin": "o", "licence": "MIT", "sha256": "ab"},),
    voxport_version="0.1.0",
)
ROW = ArtifactRow(
    description=DESCRIPTION,
    format="onnx",
    path="net.fp32.onnx",
    sha256="00" * 32,
    size_bytes=12,
    target="opset17",
    ops={"MatMul": 2},
    tools={"onnx": "1.0"},
    gates=({"gate": "pytorch", "output": "y", "figures": {"max_abs": 0.0}, "passed": True},),
    probe={"inputs": {}, "outputs": {}},
    verified_on="Linux",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def manifest_data(*rows: ArtifactRow) -> Any:
    return json.loads(Manifest(rows or (ROW,)).to_json())


def write(folder: Path, data: Any) -> Path:
    path = folder / MANIFEST_NAME
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


# Round trips


def test_description_round_trip() -> None:
    assert Description.from_json(DESCRIPTION.to_json(), "f") == DESCRIPTION


def test_manifest_round_trip(tmp_path: Path) -> None:
    small = replace(ROW, description=replace(DESCRIPTION, precision="int8"), path="net.int8.onnx")
    path = write(tmp_path, Manifest((ROW, small)).to_json())
    assert Manifest.read(path) == Manifest((ROW, small))


def test_rows_are_written_in_one_order_whatever_theirs() -> None:
    other = replace(ROW, description=replace(DESCRIPTION, name="a"), path="a.onnx")
    assert Manifest((ROW, other)).to_json() == Manifest((other, ROW)).to_json()


names = st.text(max_size=10)
tensors = st.builds(
    TensorSpec,
    names,
    st.sampled_from(DTYPES),
    st.lists(names | st.integers(0, 10**6), max_size=4).map(tuple),
)
tensor_lists = st.lists(tensors, max_size=3, unique_by=lambda spec: spec.name).map(tuple)
plain_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names


@given(
    st.builds(
        Description,
        names,
        names,
        tensor_lists,
        tensor_lists,
        minimums=st.dictionaries(names, st.integers(0, 10**9), max_size=3),
        maximums=st.dictionaries(names, st.integers(0, 10**9), max_size=3),
        sizes=st.dictionaries(
            names, st.lists(st.integers(1, 10**9), min_size=1, max_size=3).map(tuple), max_size=3
        ),
        recipe=st.dictionaries(names, plain_values | st.lists(plain_values), max_size=3),
        voxport_version=names,
    )
)
def test_any_description_round_trips(description: Description) -> None:
    assert Description.from_json(description.to_json(), "f") == description


# Malformed fields

ROW_FIELDS: dict[str, object] = {
    "format": 1,
    "path": 1,
    "sha256": None,
    "size_bytes": "12",
    "target": True,
    "probe": [],
    "ops": [],
    "tools": "onnx",
    "gates": {},
    "verified_on": 3,
    "description": "net",
}
DESCRIPTION_FIELDS: dict[str, object] = {
    "name": 1,
    "precision": None,
    "inputs": {},
    "outputs": "y",
    "minimums": [],
    "maximums": [],
    "sizes": [],
    "recipe": [],
    "checkpoints": {},
    "voxport_version": 1,
}
TENSOR_FIELDS = {"name": None, "dtype": "float16", "axes": "batch"}
NESTED = [
    (("description", "inputs", 0), "waveform", "tensor"),
    (("description", "inputs", 1, "dtype"), 5, "dtype"),
    (("description", "outputs", 0, "axes", 1), -1, "axes"),
    (("description", "outputs", 0, "axes", 1), True, "axes"),
    (("description", "outputs", 0, "axes", 1), 1.5, "axes"),
    (("description", "outputs", 0, "axes", 1), None, "axes"),
    (("description", "minimums", "samples"), 1.5, "samples"),
    (("description", "minimums", "samples"), True, "samples"),
    (("description", "minimums", "samples"), -1, "samples"),
    (("description", "maximums", "samples"), -1, "samples"),
    (("description", "sizes", "batch"), [], "batch"),
    (("description", "sizes", "batch"), 1, "batch"),
    (("description", "sizes", "batch", 0), 0, "batch"),
    (("description", "sizes", "batch", 0), True, "batch"),
    (("description", "checkpoints", 0), "c", "checkpoints"),
    (("description", "checkpoints", 0, "licence"), None, "licence"),
    (("gates", 0), "pytorch", "gates"),
    (("gates", 0, "figures"), 0.1, "figures"),
    (("gates", 0, "passed"), "yes", "passed"),
    (("ops", "MatMul"), "2", "MatMul"),
    (("tools", "onnx"), 1.0, "onnx"),
]
MALFORMED = [
    *(((key,), value, key) for key, value in ROW_FIELDS.items()),
    *((("description", key), value, key) for key, value in DESCRIPTION_FIELDS.items()),
    *((("description", "inputs", 0, key), value, key) for key, value in TENSOR_FIELDS.items()),
    *NESTED,
]


def parent(data: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys[:-1]:
        data = data[key]
    return data


@pytest.mark.parametrize(("keys", "value", "field"), MALFORMED)
def test_a_malformed_field_is_named(
    tmp_path: Path, keys: tuple[str | int, ...], value: object, field: str
) -> None:
    data = manifest_data()
    parent(data["artifacts"][0], keys)[keys[-1]] = value
    path = write(tmp_path, data)
    with pytest.raises(ArtifactError) as caught:
        Manifest.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: artifacts[0]")
    assert field in message.removeprefix(str(path))


@pytest.mark.parametrize("key", [*ROW_FIELDS, *DESCRIPTION_FIELDS])
def test_a_missing_field_is_named(tmp_path: Path, key: str) -> None:
    data = manifest_data()
    row = data["artifacts"][0]
    del (row if key in ROW_FIELDS else row["description"])[key]
    with pytest.raises(ArtifactError, match=rf"artifacts\[0\].*'{key}'"):
        Manifest.read(write(tmp_path, data))


@pytest.mark.parametrize(("key", "value"), DESCRIPTION_FIELDS.items())
def test_malformed_metadata_names_its_file_and_field(key: str, value: object) -> None:
    data = {**json.loads(DESCRIPTION.to_json()), key: value}
    with pytest.raises(ArtifactError, match=rf"^net\.onnx: .*'{key}'"):
        Description.from_json(json.dumps(data), "net.onnx")


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    data = manifest_data()
    data["artifacts"][0]["colour"] = "red"
    with pytest.raises(ArtifactError, match=r"unknown fields.*colour"):
        Manifest.read(write(tmp_path, data))


@pytest.mark.parametrize("rows", [None, {}, "net", 1])
def test_artifacts_must_be_a_list(tmp_path: Path, rows: object) -> None:
    path = write(tmp_path, {"schema_version": SCHEMA_VERSION, "artifacts": rows})
    with pytest.raises(ArtifactError, match="'artifacts' must be list"):
        Manifest.read(path)


@pytest.mark.parametrize("row", [None, [], "net", 1])
def test_a_row_must_be_an_object(tmp_path: Path, row: object) -> None:
    path = write(tmp_path, {"schema_version": SCHEMA_VERSION, "artifacts": [row]})
    with pytest.raises(ArtifactError, match=r"artifacts\[0\]: an artifact must be an object"):
        Manifest.read(path)


@pytest.mark.parametrize("version", [None, 0, 1, 3, "2", True, [1], "9" * 1000])
def test_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    data = {**manifest_data(), "schema_version": version}
    with pytest.raises(ArtifactError, match="schema version") as caught:
        Manifest.read(write(tmp_path, data))
    assert f"reads {SCHEMA_VERSION}" in str(caught.value)
    assert len(str(caught.value)) < 500


# Paths

LEAVING = [
    *("../x", "/abs", "a/b", "a/", "./a", "a\\b", "..\\x", "C:\\x", "C:x", "\\\\host\\share"),
    *("", ".", "..", "...", ".hidden", "a\0b", "a\nb", "a b", " a", "\ud800", "ä.onnx", "~"),
]


@pytest.mark.parametrize("name", LEAVING)
def test_a_path_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    data = manifest_data()
    data["artifacts"][0]["path"] = name
    with pytest.raises(ArtifactError, match=r"artifacts\[0\]: 'path' .* is not a plain file name"):
        Manifest.read(write(tmp_path, data))


# Duplicates


def test_two_rows_of_one_key_are_refused(tmp_path: Path) -> None:
    data = manifest_data(ROW, replace(ROW, path="other.onnx"))
    with pytest.raises(ArtifactError, match="the key 'net, onnx, fp32' occurs more than once"):
        Manifest.read(write(tmp_path, data))


@pytest.mark.parametrize("path", ["net.fp32.onnx", "NET.fp32.ONNX"])
def test_two_rows_of_one_path_are_refused(tmp_path: Path, path: str) -> None:
    other = replace(ROW, description=replace(DESCRIPTION, name="other"), path=path)
    data = manifest_data(ROW, other)
    with pytest.raises(ArtifactError, match=r"the path 'net\.fp32\.onnx' occurs more"):
        Manifest.read(write(tmp_path, data))


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_two_tensors_of_one_name_are_refused(kind: str) -> None:
    data = json.loads(DESCRIPTION.to_json())
    data[kind] = [data[kind][0]] * 2
    with pytest.raises(ArtifactError, match=rf"{kind}: the name .* occurs more than once"):
        Description.from_json(json.dumps(data), "f")


# Files that are no manifest

NO_JSON_OBJECT = {
    "empty": "",
    "text": "hello",
    "cut off": Manifest((ROW,)).to_json()[:-20],
    "a list": "[]",
    "null": "null",
    "a number of more digits than Python converts": '{"a": ' + "1" * 5000 + "}",
    "byte order mark": "\ufeff{}",
}


@pytest.mark.parametrize("text", NO_JSON_OBJECT.values(), ids=NO_JSON_OBJECT)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ArtifactError, match="JSON") as caught:
        Manifest.read(path)
    assert str(path) in str(caught.value)


def nested(depth: int) -> str:
    return '{"a": ' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", [40, 900, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    text = f'{{"schema_version": {SCHEMA_VERSION}, "recipe": {nested(depth)}}}'
    with pytest.raises(ArtifactError, match=r"^f: (nested deeper|not valid JSON)"):
        Description.from_json(text, "f")


def test_nesting_at_every_depth_of_the_stack_is_refused() -> None:
    # Between what the parser and what repr() can bear there must be no gap.
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 10, 7):
        with pytest.raises(ArtifactError):
            Description.from_json(f'{{"schema_version": 1, "name": {nested(depth)}}}', "f")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would exhaust memory
    with pytest.raises(ArtifactError, match="larger than"):
        Manifest.read(path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(Manifest((ROW,)).to_json().encode("utf-16"))
    with pytest.raises(ArtifactError, match="unreadable"):
        Manifest.read(path)


def test_a_missing_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="voxport export") as caught:
        Manifest.read(tmp_path / MANIFEST_NAME)
    assert str(tmp_path / MANIFEST_NAME) in str(caught.value)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(ArtifactError):
        Manifest.read(tmp_path / MANIFEST_NAME)


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        Manifest.read(tmp_path / ("x" * 5000))


# Arbitrary content


@given(json_values)
def test_arbitrary_json_is_refused_as_metadata(data: Any) -> None:
    with pytest.raises(ArtifactError):
        Description.from_json(json.dumps(data), "f")


@given(st.text())
def test_arbitrary_text_is_refused_as_metadata(text: str) -> None:
    with pytest.raises(ArtifactError):
        Description.from_json(text, "f")


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The keys that lead to each value within ``data``."""
    found = [path] if path else []
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            found += places(value, (*path, key))
    return found


@settings(deadline=None)  # it writes files
@given(st.sampled_from(places(manifest_data())), json_values)
def test_arbitrary_values_anywhere_are_read_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, keys: tuple[str | int, ...], value: Any
) -> None:
    data = copy.deepcopy(manifest_data())
    parent(data, keys)[keys[-1]] = value
    path = write(tmp_path_factory.getbasetemp(), data)
    try:
        manifest = Manifest.read(path)
    except ArtifactError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 -- either outcome is right
    else:
        # NaN differs from itself: compare as text.
        assert json.dumps(json.loads(manifest.to_json()), sort_keys=True) == json.dumps(
            data, sort_keys=True
        )


# Look-ups


def test_find_returns_the_row() -> None:
    half = replace(ROW, description=replace(DESCRIPTION, precision="fp16"), path="h.onnx")
    assert Manifest((ROW, half)).find("net", "fp16") is half


def test_find_lists_the_names_that_there_are() -> None:
    other = replace(ROW, description=replace(DESCRIPTION, name="other"), path="o.onnx")
    with pytest.raises(ArtifactNotFoundError, match=r"'nett'.*there are: net, other"):
        Manifest((other, ROW)).find("nett", "fp32")


def test_find_lists_the_variants_that_there_are() -> None:
    package = replace(ROW, format="mlpackage", path="net.mlpackage")
    with pytest.raises(ArtifactNotFoundError, match="there are: onnx fp32, mlpackage fp32"):
        Manifest((ROW, package)).find("net", "fp16")


def test_find_in_an_empty_manifest() -> None:
    with pytest.raises(ArtifactNotFoundError, match="there are: none"):
        Manifest().find("net", "fp32")


# Figures of the recipe


def recipe(**values: object) -> Description:
    return replace(DESCRIPTION, recipe=dict(values))


def test_figures_of_the_recipe() -> None:
    assert recipe(rate=16000).figure("rate", int) == 16000
    assert recipe(distance=0.42).figure("distance", float) == 0.42
    assert isinstance(recipe(distance=1).figure("distance", float), float)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, 10**400, "1", None, [1]])
def test_what_is_no_positive_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ArtifactError, match=r"^net: .*'rate'.*positive int"):
        recipe(rate=value).figure("rate", int)


@pytest.mark.parametrize("value", [0.0, -0.5, float("nan"), float("inf"), 10**400, "1", None])
def test_what_is_no_positive_number_is_refused(value: object) -> None:
    with pytest.raises(ArtifactError, match=r"^net: .*'distance'.*positive float"):
        recipe(distance=value).figure("distance", float)


def test_a_missing_figure_is_named() -> None:
    with pytest.raises(ArtifactError, match="'hop_samples'"):
        recipe().figure("hop_samples", int)
