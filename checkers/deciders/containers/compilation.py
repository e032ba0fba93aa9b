"""The same source in two speeds: as it is, for short histories that must not wait for numba, or compiled.

Compiled code is kept on disk beside the source, or where ``NUMBA_CACHE_DIR`` says, so that compiling is paid once a
machine.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

COMPILED_FROM = 10_000
"""So many values are worth starting numba for."""


def compiled_together(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """The last of some functions of one module, compiled, calling the others compiled: the module itself keeps the
    plain ones.
    """
    import numba  # a second that short histories are spared

    names: dict[str, Any] = {}
    for function in functions:
        plain = cast(FunctionType, function)
        names = names or dict(plain.__globals__)
        # One scope for all: a compiled function finds the compiled ones before it under their names.
        names[plain.__name__] = numba.njit(cache=True)(FunctionType(plain.__code__, names, plain.__name__))
    compiled: Callable[..., Any] = names[functions[-1].__name__]
    return compiled
