"""Cost of a network from its weights alone, in milliseconds, with the interval in which synthesis would have found it."""
