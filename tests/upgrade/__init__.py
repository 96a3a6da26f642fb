"""What an upgrade goes through: tables that are full are changed, and versions of the code that meet during a deploy.

Run by `make upgrade`, shown in docs/reliability.md.
"""
