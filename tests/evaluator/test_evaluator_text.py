"""The parser of compiled programs (``model.mil``), on a program written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxport.export.evaluator import ProgramFormatError, evaluate, load_program

_PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3402.4.1 (\\"]\\")"}})]
{
    func main<ios18>(tensor<fp32, [?, 3]> x) [FlexibleShapeInformation = tuple<string>("(")] {
            tensor<fp32, [3]> bias = const()[name = string("b"), val = tensor<fp32, [3]>([0x1.8p+0, -2.5, 1e+1])];
            int32 axis = const()[name = string("axis"), val = int32(-1)];
            bool together = const()[name = string("i"), val = bool(false)];
            tensor<string, []> kind = const()[name = string("k"), val = tensor<string, []>("fp16")];
            tensor<fp32, [?, 3]> sums = add(x = x, y = bias)[name = string("sums")];
            tensor<fp32, [?, 6]> both = concat(axis = axis, interleave = together, values = (sums, x))[name = string("both")];
            tensor<fp16, [?, 6]> half = cast(dtype = kind, x = both)[name = string("half")];
            tensor<fp16, [?, 2]> first, tensor<fp16, [?, 4]> rest = split(axis = int32(1), split_sizes = tensor<int32, [2]>([2, 4]), x = half)[name = string("parts")];
        } -> (first, rest);
}
"""  # noqa: E501 -- as compilers write it


def _compiled(folder: Path, text: str) -> Path:
    path = folder / "program.mlmodelc"
    path.mkdir()
    (path / "model.mil").write_text(text, encoding="utf-8")
    return path


def test_runs_a_textual_program(tmp_path: Path) -> None:
    path = _compiled(tmp_path, _PROGRAM)
    x = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]], np.float32)
    assert load_program(path).ops == {"add": 1, "cast": 1, "concat": 1, "split": 1}
    expected = np.concatenate((x + np.array([1.5, -2.5, 10]), x), axis=1)
    exact = evaluate(path, {"x": x})
    np.testing.assert_allclose(np.hstack([exact["first"], exact["rest"]]), expected, rtol=1e-12)
    stored = evaluate(path, {"x": x}, mode="stored")
    assert stored["rest"].dtype == np.float16
    np.testing.assert_array_equal(stored["rest"], expected[:, 2:].astype(np.float16))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("add(x = x,", "add(x = ,", "line 9: expected a name, found ','"),
        ("tensor<fp16, [?, 6]> half", "tensor<fp17, [?, 6]> half", "found 'fp17'"),
        ("[0x1.8p+0, -2.5, 1e+1]", "[0x1.8p+0, -2.5]", "line 5: expected a value of fp32"),
        ("[?, 3]> sums", "[-3]> sums", "expected a size"),
        ("-> (first, rest);\n}", "", "expected '->', found 'the end'"),
        ("-> (first, rest)", "-> (first, nothing)", "nothing defines"),
        ("= add(", "= $add(", "unexpected"),
        ("y = bias", "y = bais", "nothing defines its input 'bais'"),
        ("sums = add", "x = add", "'x' is defined twice"),
        ("bool(false)", "bool(perhaps)", "expected a number, found 'perhaps'"),
        ('[name = string("sums")];', "{ };", "expected ';'"),
    ],
)
def test_says_where_a_program_is_damaged(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in _PROGRAM
    path = _compiled(tmp_path, _PROGRAM.replace(old, new))
    with pytest.raises(ProgramFormatError) as caught:
        evaluate(path, {"x": np.zeros((1, 3), np.float32)})
    assert reason in str(caught.value)


def test_refuses_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "empty.mlmodelc").mkdir()
    with pytest.raises(ProgramFormatError, match="cannot be read"):
        load_program(tmp_path / "empty.mlmodelc")
    with pytest.raises(ProgramFormatError, match="expected a folder"):
        load_program(tmp_path / "model.onnx")
