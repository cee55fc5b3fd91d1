"""The claims of Baldi et al., arXiv:2502.08355, judged on the points of a study."""
