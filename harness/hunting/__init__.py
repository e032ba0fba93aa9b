"""Hunting planted bugs: how many do we find, by what, and how fast?

The plan is pure (:mod:`harness.hunting.plan`), so is the score (:mod:`harness.hunting.score`); one module makes
the runs (:mod:`harness.hunting.hunt`).
"""
