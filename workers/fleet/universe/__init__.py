"""A universe of our own behind the paths, shapes and error codes of the SpaceTraders API, v2.3."""
