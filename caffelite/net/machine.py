"""What a program or a solver wants of the machine below the nets: threads, what they reach at most, and compiling."""

from caffelite.kernels.engine import keeping
from caffelite.kernels.engine.calls import together
from caffelite.kernels.engine.compiling import listening
from caffelite.kernels.engine.team import choose_threads
from caffelite.kernels.engine.thread_count import share_of_cores, thread_count
from caffelite.kernels.peak import arithmetic, memory

__all__ = [
    "arithmetic",
    "choose_threads",
    "code_is_kept",
    "listening",
    "memory",
    "share_of_cores",
    "thread_count",
    "together",
]


def code_is_kept() -> bool:
    """Whether what is compiled now is there the next time; where it is not, a warning says so, once."""
    return keeping.can_keep(keeping.code_folder())
