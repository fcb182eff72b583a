"""Fits a bundle to what it will see: gate thresholds from recorded embedding streams."""
