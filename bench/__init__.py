"""Measures latency, energy and quality of a bundle, and lays device models beside them."""
