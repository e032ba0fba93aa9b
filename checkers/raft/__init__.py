"""What node traces prove about a Raft: its invariants, and how its terms went."""
