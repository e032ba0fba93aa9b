"""A file system in user space, between a node and its data: what a disk can do to a program, without touching it.

A process of its own for each node (:mod:`faults.filesystem.__main__`) speaks the kernel's protocol (linux/fuse.h) over
/dev/fuse. It keeps files in a folder beneath it (:mod:`~faults.filesystem.store`), remembers what was not synced and
can take it back (:mod:`~faults.filesystem.unsynced`, :mod:`~faults.filesystem.journal`), and does what its rules say
about single operations (:mod:`~faults.filesystem.rules`): fail, wait, do a part, or kill the node right there.

Why the protocol and not libfuse: a reply can wait without a thread, and is given up the moment its caller is killed
(else a node on a slow disk could not be killed); every request names its caller, whom a fail point kills while the
request is held; files that are unlinked while open are not renamed behind the program's back (a fail point counts the
*node's* renames); and no package has to be installed where a node runs.
"""
