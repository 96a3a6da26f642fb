"""The admin's pages: what operators see and do. Decisions and queries are elsewhere."""

from monitoring.admin import monitors, records  # noqa: F401 - they register themselves
