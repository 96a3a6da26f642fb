"""The fault harness: real processes are killed, real servers misbehave, and what arrived is counted.

`python -m tests.faults --list` says what there is, `make faults` runs all of it, docs/reliability.md says what for.
"""
