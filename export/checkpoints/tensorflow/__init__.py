"""TensorFlow's own checkpoint files, read without TensorFlow; nothing in them is run."""

from .files import TensorflowVariables, read_tensorflow, tensorflow_table

__all__ = ["TensorflowVariables", "read_tensorflow", "tensorflow_table"]
