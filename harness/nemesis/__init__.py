"""The nemesis: plays a schedule against a cluster."""
