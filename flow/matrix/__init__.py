"""The matrix of layers: what can be deployed bit for bit, what needs a repair, and what is refused. Made by `hlscape matrix`."""
