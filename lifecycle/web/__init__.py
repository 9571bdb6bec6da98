"""Flower's Containers page, its JSON API, and metrics."""
