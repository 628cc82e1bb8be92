"""Files that ``torch.save`` wrote before 1.6: read with the same restrictions as later ones."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checkpoint_hostile import HOSTILE, Calls, hostile_calls, ints
from voxport.export.checkpoints import load_segmentation
from voxport.export.checkpoints.content import read_content
from voxport.export.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
VERSION = pickle.dumps(1001, protocol=2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2)
KEYS = pickle.dumps(["0"], protocol=2)
KEYS_NONE = pickle.dumps([], protocol=2)
NUMBERS = struct.pack("<q4f", 4, 1.0, 2.0, 3.0, 4.0)


def saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def file(value: bytes, keys: bytes = KEYS, numbers: bytes = NUMBERS, **head: bytes) -> bytes:
    """A file with this pickle in the place of the value's."""
    return (
        MAGIC + head.get("version", VERSION) + head.get("system", SYSTEM) + value + keys + numbers
    )


def tensor(count: int = 4, size: str = ints(4), view: str = "N", kind: str = "Float") -> bytes:
    """Protocol-0 pickle of {'w': tensor} on storage 0."""
    storage = f"(S'storage'\nctorch\n{kind}Storage\nS'0'\nS'cpu'\nI{count}\n{view}tQ"
    arguments = f"({storage}I0\n{size}{ints(1)}I00\nccollections\nOrderedDict\n(tRt"
    return f"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rs.".encode()


def read(content: bytes) -> dict[str, torch.Tensor]:
    return read_content(io.BytesIO(content), "old.pth").state


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_kind_of_tensor_is_read(wrapped: bool) -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    state = {
        "matrix": matrix,
        "view": matrix.t()[1:, ::2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.arange(5).half(),
        "brain": torch.arange(3).bfloat16(),
        "double": torch.ones(2, 1, dtype=torch.float64),
        "count": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0),
    }
    found = read(saved({"state_dict": state, "epoch": 4} if wrapped else state))
    assert set(found) == set(state)
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_the_files_of_these_tests_are_sound() -> None:
    assert read(file(tensor()))["w"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["version", "system", "value", "keys"])
def test_no_pickle_of_it_calls_anything(tmp_path: Path, name: str, place: str) -> None:
    proof = tmp_path / "proof"
    hostile = pickle.dumps({"w": hostile_calls(proof)[name]}, protocol=2)
    parts = {"value": tensor(), place: hostile}
    path = tmp_path / "x.pth"
    path.write_bytes(file(**parts))
    with pytest.raises(UnsafeCheckpointError, match=r"x\.pth: .*nothing was run"):
        load_segmentation(path)
    assert not proof.exists()


def test_whole_modules_are_refused() -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read(saved(torch.nn.Linear(2, 2)))


MALFORMED = {
    "version": (file(tensor(), version=pickle.dumps(7)), "version"),
    "order": (file(tensor(), system=pickle.dumps({"little_endian": False})), "little-endian"),
    "system": (file(tensor(), system=pickle.dumps([])), "little-endian"),
    "count": (file(tensor(1 << 40)), "more bytes than the file"),
    "negative": (file(tensor(-4)), "malformed"),
    "other count": (file(tensor(3, ints(3))), "claims 3 numbers, but 4"),
    "size": (file(tensor(size=ints(1 << 40))), "needs more"),
    "view": (file(tensor(view="(S'1'\nI0\nI2\nt")), "malformed"),
    "no key": (file(tensor(), keys=pickle.dumps([])), "not that of its tensors"),
    "two keys": (file(tensor(), keys=pickle.dumps(["0", "0"])), "not that of its tensors"),
    "other key": (file(tensor(), keys=pickle.dumps(["1"])), "not that of its tensors"),
    "no list": (file(tensor(), keys=pickle.dumps({"0": 1})), "malformed"),
    "numbers as keys": (file(tensor(), keys=pickle.dumps([0])), "malformed"),
    "truncated": (file(tensor())[:-1], "truncated"),
    "no numbers": (file(tensor(), numbers=b""), "but 0 are"),
    "a tensor too early": (file(tensor(), system=tensor()), "where a torch file has none"),
    "memo": (file(b"\x80\x02Nr\xff\xff\xff\x7f.", KEYS_NONE, b""), "not weights"),
    "no value": (MAGIC, "malformed"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_corrupt(case: str) -> None:
    content, reason = MALFORMED[case]
    with pytest.raises(CorruptCheckpointError, match=rf"old\.pth: .*{reason}"):
        read(content)


def test_one_storage_has_one_type() -> None:
    both = tensor()[:-1] + tensor(kind="Int").replace(b"(dS'w'", b"S'v'")[:-1] + b"."
    with pytest.raises(CorruptCheckpointError, match="two ways"):
        read(file(both))


def test_storages_cannot_claim_the_file_twice() -> None:
    content = saved({"a": torch.ones(1 << 12), "b": torch.ones(1 << 12)})
    grown = content.replace(struct.pack("<H", 1 << 12), struct.pack("<H", 1 << 14))
    with pytest.raises(CorruptCheckpointError, match="more bytes than the file"):
        read(grown)


def test_a_bare_pickle_is_still_refused(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        with pytest.raises(UnsafeCheckpointError, match=r"old\.pth: a bare pickle"):
            read(pickle.dumps(Calls(print, "called"), protocol=protocol))


SOUND = saved({"state_dict": {"w": torch.arange(64.0), "v": torch.ones(3)}, "epoch": 3})


# Damage may make a text of one of the old opcodes, where the interpreter warns.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@settings(max_examples=300)
@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255), st.integers(0, len(SOUND)))
def test_damage_is_typed(position: int, change: int, cut: int) -> None:
    data = bytearray(SOUND)
    data[position] ^= change
    for content in (bytes(data), SOUND[:cut], bytes(data[:cut])):
        try:
            state = read(content)
        except CheckpointError:
            continue
        # Numbers have no checksum: those may differ, and nothing may be larger than the file.
        assert sum(each.nbytes for each in state.values()) <= len(SOUND)
