"""From runs to outcomes."""
