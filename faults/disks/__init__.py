"""Deeds of faults on disks: trouble by rule, fail points, decay of data at rest."""
