"""The database: tables, and every SQL statement of this project."""
