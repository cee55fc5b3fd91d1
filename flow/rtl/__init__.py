"""Lowered graph -> alkaid -> pipelined Verilog -> simulation."""
