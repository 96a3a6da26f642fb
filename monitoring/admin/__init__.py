"""What people who run the site see and do; decisions and queries are elsewhere."""

from monitoring.admin import monitors, records  # noqa: F401 - they register themselves
