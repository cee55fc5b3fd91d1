"""Work with the tools of FPGA vendors: their reports, and the files that they take."""
