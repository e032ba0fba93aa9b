"""From a scenario file and a seed to a schedule of faults, before anything starts."""
