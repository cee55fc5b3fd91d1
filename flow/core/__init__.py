"""The kernel: stages, store, plan, tools. It moves results and makes none."""
