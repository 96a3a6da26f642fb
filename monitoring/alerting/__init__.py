"""From outcomes to people."""
