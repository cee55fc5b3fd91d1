"""Fixtures of the kernel's tests."""

from tests.core.launching import place

__all__ = ["place"]
