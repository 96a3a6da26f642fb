"""Turns what a queue says about a run into the run's row."""
