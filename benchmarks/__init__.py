"""Timings against a peer in the same run. They measure and print; nothing here decides whether a change is accepted."""
