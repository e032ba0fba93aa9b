"""Polynomial methods for queues, stacks and priority queues whose elements are unique."""
