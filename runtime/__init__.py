"""The runtime in Python: thin over the C core (include/vljepa.h) through cffi.

Needs neither torch nor any other layer of this package.
"""
