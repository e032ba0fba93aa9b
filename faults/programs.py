"""Programs that faults run on nodes' hosts, made of modules of ours, that need nothing there but a Python.

The modules' sources go along as an argument. So a helper starts in 30 ms (this package's own imports cost 150 ms and
more, five times on two cores), and starts inside a container or on a remote host that has never heard of us.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

_LOADER = """
import json, sys, types
package = sys.modules["faults"] = types.ModuleType("faults")
package.__path__ = []
for name, source in json.loads(sys.argv[1]):
    parent = name.rpartition(".")[0]
    if parent:
        sys.modules.setdefault("faults." + parent, types.ModuleType("faults." + parent)).__path__ = []
    module = sys.modules["faults." + name] = types.ModuleType("faults." + name)
    exec(compile(source, "faults/" + name.replace(".", "/") + ".py", "exec"), module.__dict__)
sys.exit(module.main())
"""


def program(*modules: str) -> Sequence[str]:
    """The argument vector of a program: these modules of ``faults`` (``clocks.vdso``), each after those that it
    imports; the last one's ``main()`` is called. They may import nothing else but the standard library.
    """
    folder = Path(__file__).parent
    sources = [(name, (folder / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")) for name in modules]
    return ["python3", "-S", "-E", "-c", _LOADER, json.dumps(sources)]


_LOCAL = """
import sys, types
package = sys.modules["faults"] = types.ModuleType("faults")
package.__path__ = [sys.argv[1]]
from importlib import import_module
sys.exit(import_module(sys.argv[2]).main())
"""


def local_program(module: str) -> Sequence[str]:
    """The same on this machine, for a program too long to be an argument: its modules are read where they lie, but for
    the package's own beginning, which imports every family. They may import nothing but each other and the standard
    library. ``module``: ``faults.x``.
    """
    return ["python3", "-S", "-E", "-c", _LOCAL, str(Path(__file__).parent), module]
