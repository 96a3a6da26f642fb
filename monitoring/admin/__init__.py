"""What people who run the site see and do; decisions and queries are elsewhere."""
