"""What the record of a run says beyond its data: coverage, liveness, availability, logs, "sometimes" facts."""
