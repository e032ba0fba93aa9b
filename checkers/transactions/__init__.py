"""Transactions of many reads and writes, judged by dependency graphs: list-append and rw-register.

Method: Kingsbury & Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020), on Adya's
phenomena ("Weak Consistency", 1999). Every written value is new, so a read names the transaction that wrote what it saw;
what follows from the reads about the order of versions gives edges between transactions, and a cycle of edges is an
anomaly with a name. Where the question is whether any serial order exists at all, what the graph leaves open is searched,
so that a verdict of ``valid`` has an order behind it.
"""
