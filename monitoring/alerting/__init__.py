"""Turns what checks found into mails to people."""
