"""The page and its server: what `vljepa assist` runs. Needs the extra `assistant`."""
