"""Analytic models of devices: what a component would take on hardware that is not here."""
