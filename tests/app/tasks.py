"""Huey tasks of each ending."""
