"""The guard: a process on each remote host that is the harness's hand there, and its dead man.

It starts the server and is its parent, so it knows how it ended, and (as a *subreaper*, prctl(2)) every orphan of it.
It carries out what the controller asks for, one JSON object a line over a Unix socket in its folder; whoever comes
over SSH runs ``talk``, which passes lines on. Connections may break at any time: a question that is asked again under
the same number is not done twice.

What was broken is undone there, without anybody's help: each entry of the undo list when its limit passes, all of it
when the controller has not been heard for ``silence_s``; then the helpers' inputs end, the server is killed, the
folder is removed, and the guard ends. The list is on disk too, so that ``end`` can finish the work of a guard that
died.

The standard library only (Python >= 3.11), and nothing of ours but this package: it is uploaded as it is, and run as
``python3 -m harness.guard serve CONFIG``, ``talk FOLDER`` or ``end FOLDER``.
"""

BANNER = "capsize-guard"
"""Begins the first line that ``serve`` and ``talk`` print; what a login shell prints comes before it."""
