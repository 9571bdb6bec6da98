"""A trading fleet on the SpaceTraders API, or on a universe of its own: see workers/README.md."""
