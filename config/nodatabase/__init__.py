"""The database backend in use when no database is configured: every connection says how to get one."""
