"""The JSON API, a file a group of its handlers."""
