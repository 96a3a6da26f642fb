"""From what a queue says about a run to its row."""
