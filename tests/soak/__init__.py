"""All of it at work for long, with time sped up: does anything grow that should not? Run by `make soak`."""
