"""Packets on bad links: netem and its stand-in, firewalls, and the proofs that packets are held, lost or refused."""
