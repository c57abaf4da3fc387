"""Reusable SavedModels: writing our own, fetching and loading anybody's."""
