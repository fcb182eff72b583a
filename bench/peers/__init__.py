"""Full precision, plain exports and other projects beside a bundle, on the same checkpoint."""
