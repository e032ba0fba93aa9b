"""The log-linear method for registers with unique written values."""
