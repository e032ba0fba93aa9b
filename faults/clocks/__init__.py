"""Another time for one process: its vDSO rewritten while it stands still."""
