"""Files that would run code, or exhaust memory, when loaded carelessly."""

from __future__ import annotations

import io
import operator
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from voxport.export.checkpoints import load_embedding, load_segmentation
from voxport.export.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def write_archive(path: Path, pickled: bytes, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in entries.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


def tensor_pickle(key: str, numel: int, size: str, stride: str, offset: int = 0) -> bytes:
    """Protocol-0 pickle of {'w': tensor}, every figure of it chosen freely."""
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI{numel}\ntQ"
    arguments = f"({storage}I{offset}\n{size}{stride}I00\nccollections\nOrderedDict\n(tRt"
    return f"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rs.".encode()


def ints(*values: int) -> str:
    return "(" + "".join(f"I{value}\n" for value in values) + "t"


def hostile_calls(proof: Path) -> dict[str, Calls]:
    """Calls that would leave the file ``proof``, or hand out what could."""
    code = f"open({str(proof)!r}, 'w')"
    return {
        "os.system": Calls(os.system, f"touch {proof}"),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "builtins.open": Calls(open, str(proof), "w"),
        "builtins.getattr": Calls(getattr, Calls, "__reduce__"),
        "builtins.__import__": Calls(__import__, "os"),
        "operator.attrgetter": Calls(operator.attrgetter, "system"),
        "torch.load": Calls(torch.load, str(proof)),
        "torch.hub.load": Calls(torch.hub.load, str(proof), "model"),
        "pathlib.Path.touch": Calls(Path.touch, proof),
    }


HOSTILE = tuple(hostile_calls(Path()))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_global_outside_the_list_is_called(tmp_path: Path, name: str, protocol: int) -> None:
    proof = tmp_path / "proof"
    tree = {"state_dict": {"w": hostile_calls(proof)[name]}}
    path = write_archive(tmp_path / "hostile.ckpt", pickle.dumps(tree, protocol=protocol))
    for load in (load_segmentation, lambda file: load_embedding("campplus", file)):
        with pytest.raises(UnsafeCheckpointError, match=r"hostile\.ckpt: .*nothing was run"):
            load(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "module", ["posix\nsystem", "nt\nsystem", "pyannote\nsystem", "torch\nsave"]
)
def test_names_near_the_list_are_refused(tmp_path: Path, module: str) -> None:
    path = write_archive(tmp_path / "x.ckpt", f"c{module}\n(S'touch proof'\ntR.".encode())
    with pytest.raises(UnsafeCheckpointError):
        load_segmentation(path)


def test_stand_ins_run_nothing(tmp_path: Path) -> None:
    pickled = (
        b"cpyannote.audio.core.io\nos.system\n(S'touch " + bytes(tmp_path / "proof") + b"'\ntR."
    )
    with pytest.raises(CorruptCheckpointError, match=r"no tensors|not weights"):
        load_segmentation(write_archive(tmp_path / "x.ckpt", pickled))
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "target",
    ["torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch\nFloatStorage"],
)
def test_a_pickle_cannot_alter_what_it_is_given(tmp_path: Path, target: str) -> None:
    pickled = f"c{target}\n(N(dS'shared'\nI1\nstb.".encode()
    with pytest.raises((UnsafeCheckpointError, CorruptCheckpointError)):
        load_segmentation(write_archive(tmp_path / "x.ckpt", pickled))
    assert not hasattr(OrderedDict, "shared")


def test_several_pickles_and_torchscript_are_refused(tmp_path: Path) -> None:
    sound = pickle.dumps({"w": 1})
    several = write_archive(tmp_path / "several.pt", sound, evil__data_pkl=b"")
    with zipfile.ZipFile(several, "a") as archive:
        archive.writestr("archive/second.pkl", sound)
    with pytest.raises(UnsafeCheckpointError, match="2 pickles"):
        load_segmentation(several)
    script = tmp_path / "script.pt"
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("script/data.pkl", sound)
        archive.writestr("script/constants.pkl", sound)
        archive.writestr("script/code/__torch__.py", "")
    with pytest.raises(UnsafeCheckpointError, match="TorchScript"):
        load_embedding("campplus", script)


def test_bare_pickles_are_refused_unread(tmp_path: Path) -> None:
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'proof'}")))
    bare_text = tmp_path / "text.pkl"
    bare_text.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'proof'}"), protocol=0))
    for path in (bare, bare_text):
        with pytest.raises(UnsafeCheckpointError, match=path.name):
            load_embedding("wespeaker", path)
    assert not (tmp_path / "proof").exists()


OVERSTATED = {
    "storage": (tensor_pickle("0", 1 << 40, ints(4), ints(1)), "claims"),
    "size": (tensor_pickle("0", 4, ints(1 << 40), ints(1)), "needs more"),
    "expanded": (tensor_pickle("0", 4, ints(1 << 40), ints(0)), "needs more"),
    "offset": (tensor_pickle("0", 4, ints(4), ints(1), offset=1), "needs more"),
    "stride": (tensor_pickle("0", 4, ints(2), ints(1 << 40)), "needs more"),
    "negative": (tensor_pickle("0", 4, ints(2), ints(-1)), "stride"),
    "product": (tensor_pickle("0", 4, ints(1 << 62, 4), ints(4, 1)), "needs"),
    "absent": (tensor_pickle("7", 4, ints(4), ints(1)), "storage 7"),
    "memo": (b"\x80\x02Nr\xff\xff\xff\x7f.", "not weights"),
    "string": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.", "malformed"),
    "cut off": (pickle.dumps({"w": [1, 2, 3]})[:-4], "malformed"),
    "no value": (b".", "malformed"),
    "empty": (b"", "malformed"),
}


@pytest.mark.parametrize("case", OVERSTATED)
def test_overstated_sizes_are_corruption(tmp_path: Path, case: str) -> None:
    pickled, reason = OVERSTATED[case]
    path = write_archive(tmp_path / "x.ckpt", pickled, data__0=bytes(16))
    with pytest.raises(CorruptCheckpointError, match=rf"x\.ckpt: .*{reason}"):
        load_segmentation(path)


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    deflated = tmp_path / "deflated.pt"
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (1 << 24))
    with pytest.raises(CorruptCheckpointError, match="compressed"):
        load_segmentation(deflated)
    stored = write_archive(tmp_path / "stored.pt", pickle.dumps({}), data__0=bytes(16))
    content = bytearray(stored.read_bytes())
    # The size that the central directory claims for the last entry.
    start = content.rindex(b"PK\x01\x02")
    content[start + 20 : start + 28] = struct.pack("<II", 1 << 31, 1 << 31)
    stored.write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match="claim"):
        load_segmentation(stored)


def test_shared_storages_cannot_multiply(tmp_path: Path) -> None:
    shared = torch.ones(1 << 16)
    path = tmp_path / "shared.pt"
    torch.save({f"xvector.{number}": shared for number in range(50)}, path)
    with pytest.raises(CorruptCheckpointError, match="claim"):
        load_embedding("campplus", path)


NOT_CHECKPOINTS = {
    "empty": (b"", "empty"),
    "noise": (b"\x01\x02\x03" * 100, "neither"),
    "page": (b"<!doctype html><html>", "web page"),
    "pointer": (b"version git-lfs spec v1\noid sha256:0", "Git LFS"),
    "safetensors": (struct.pack("<Q", 20) + b'{"w": {"dtype": "F32"', "safetensors"),
    "huge header": (struct.pack("<Q", 1 << 60) + b"{}", "safetensors"),
}


@pytest.mark.parametrize("case", NOT_CHECKPOINTS)
def test_what_is_no_checkpoint_is_called_so(tmp_path: Path, case: str) -> None:
    content, reason = NOT_CHECKPOINTS[case]
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match=rf"file\.bin: .*{reason}"):
        load_segmentation(path)


def test_every_truncation_and_flipped_byte_is_typed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.arange(64.0)}, "epoch": 3}, buffer)
    sound = buffer.getvalue()
    path = tmp_path / "x.pt"
    for cut in range(0, len(sound) - 1, 37):
        path.write_bytes(sound[:cut])
        with pytest.raises((CorruptCheckpointError, UnsafeCheckpointError)):
            load_segmentation(path)
    for position in range(0, len(sound), 11):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0x55]) + sound[position + 1 :])
        with pytest.raises(CheckpointError):
            load_segmentation(path)
