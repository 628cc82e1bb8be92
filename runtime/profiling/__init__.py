"""Where the time of a network goes: by part and by operator, on the CPU or a card."""

from .distribution import OperatorTime
from .plot import write_plot
from .profiler import Profiler, network_names
from .summary import Parts, Profile, StageProfile, Unavailable
from .table import side_by_side, table
from .trace import Trace, TraceError, read_trace

__all__ = [
    "OperatorTime",
    "Parts",
    "Profile",
    "Profiler",
    "StageProfile",
    "Trace",
    "TraceError",
    "Unavailable",
    "network_names",
    "read_trace",
    "side_by_side",
    "table",
    "write_plot",
]
