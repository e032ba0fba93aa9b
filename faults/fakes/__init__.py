"""A cluster that exists only in memory, for tests of faults and of whatever plays them."""
