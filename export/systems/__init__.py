"""Graphs beside the diarization's: one module for each system, with all that its export needs.

A module holds the specs of a system, their cases, references and recipes; ``configurations`` holds
what can be chosen at export. A new system adds a line to each of the two tables.
"""

from .configurations import DEFAULTS

__all__ = ["DEFAULTS"]
