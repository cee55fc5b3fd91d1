"""Synthesis back ends, one module each; see `flow.synth._plan` for what a back end provides."""
