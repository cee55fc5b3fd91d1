"""hlscape: quantized networks for detector FPGAs, their loss landscape, robustness and hardware cost side by side."""
