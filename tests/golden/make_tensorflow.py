"""Make ``tensorflow.zip``: checkpoints that TensorFlow itself wrote, in both of its versions.

Run it in an environment with TensorFlow 2 (``pip install tensorflow-cpu``), from this folder.
``--read`` instead lets TensorFlow read what ``tests/tensorflow_files.py`` writes, and compares.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

_HERE = Path(__file__).resolve().parent
_PARTITIONED = "partitioned/weights"


def _create(variables: dict[str, np.ndarray]) -> None:
    """Two devices, of which sharded checkpoints write a file each; one variable in three parts."""
    v1 = tf.compat.v1
    for place, (name, value) in enumerate(variables.items()):
        scope, _, short = name.rpartition("/")
        partitioner = v1.fixed_size_partitioner(3) if name == _PARTITIONED else None
        with (
            tf.device(f"/cpu:{place % 2}"),
            v1.variable_scope(scope or v1.get_variable_scope(), partitioner=partitioner),
        ):
            v1.get_variable(
                short,
                shape=value.shape,
                dtype=value.dtype,
                initializer=_sliced(value) if partitioner else v1.constant_initializer(value),
                use_resource=False,
            )


def _sliced(value: np.ndarray) -> Any:
    """An initializer that gives each part its own rows."""

    def initialise(shape: Any, dtype: Any, partition_info: Any) -> Any:
        start = partition_info.var_offset[0]
        return tf.constant(value[start : start + shape[0]], dtype)

    return initialise


def make(folder: Path, variables: dict[str, np.ndarray]) -> None:
    v1 = tf.compat.v1
    config = v1.ConfigProto(device_count={"CPU": 2})
    with v1.Graph().as_default(), v1.Session(config=config) as session:
        _create(variables)
        session.run(v1.global_variables_initializer())
        for version, name, is_sharded in ((1, "v1", False), (2, "v2", False), (2, "shards", True)):
            saver = v1.train.Saver(write_version=version, sharded=is_sharded)
            path = str(folder / f"{name}.ckpt")
            saver.save(session, path, write_meta_graph=False, write_state=False)
    # As Keras and TensorFlow 2 save: other names.
    tf.train.Checkpoint(v=tf.Variable(variables["double"])).write(str(folder / "objects"))


def read_ours(folder: Path, variables: dict[str, np.ndarray]) -> None:
    from tensorflow_files import write_v1, write_v2  # noqa: PLC0415

    write_v1(folder / "v1.ckpt", variables)
    write_v2(folder / "v2.ckpt", variables)
    write_v2(folder / "shards.ckpt", variables, 3)
    for name in ("v1", "v2", "shards"):
        reader = tf.compat.v1.train.NewCheckpointReader(str(folder / f"{name}.ckpt"))
        assert set(reader.get_variable_to_shape_map()) == set(variables)
        for key, value in variables.items():
            found = np.asarray(reader.get_tensor(key))
            assert (found.dtype, found.shape) == (value.dtype, value.shape), key
            assert found.tobytes() == value.tobytes(), key
        print(f"{name}: {len(variables)} variables, bit for bit")


def main() -> None:
    sys.path.insert(0, str(_HERE.parent))
    from tensorflow_files import golden_variables  # noqa: PLC0415

    variables = golden_variables()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "--read" in sys.argv:
            read_ours(folder, variables)
            return
        make(folder, variables)
        target = _HERE / "tensorflow.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.iterdir()):
                # A fixed date, so that the same checkpoints are the same archive.
                entry = zipfile.ZipInfo(path.name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes(), compresslevel=9)


if __name__ == "__main__":
    main()
