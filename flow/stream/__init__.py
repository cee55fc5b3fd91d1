"""Streaming RTL: one pixel after the other through layers that have a module each, with valid and ready between them."""
