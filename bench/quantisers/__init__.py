"""Other quantisers on the same components and windows as ours, judged by the same code."""
