"""What the monitor stands on goes away for a while of real time; run by `make outages`, shown in docs/reliability.md.

In tests.faults processes and mail servers break, and minutes are not waited for. Here queue and database do, and how
long it takes until all goes on is the question.
"""
