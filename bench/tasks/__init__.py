"""The paper's tasks on sprite world, one command: `vljepa eval MODEL --suite all`."""
