"""What a node is held to, and what burdens it."""
