"""This machine: what it can do, namespaces, tools, processes, and the probes of the network."""
