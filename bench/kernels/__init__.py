"""Times the C kernels beside what one would call in their place, in turns and in one process."""
