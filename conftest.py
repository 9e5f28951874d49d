"""Shared by all tests of the project: pytest's own tools for testing a plugin, in a pytest of their own."""

pytest_plugins = ["pytester"]
