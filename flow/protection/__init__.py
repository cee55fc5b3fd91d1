"""Hardened hardware: which bits are protected, the Verilog that does it, and what it buys. Pure; stage ``harden`` runs the tools.

In the unrolled RTL of this project weights are constants of the logic, which no upset reaches but one of the configuration memory. Designs
that load their weights (the ECON-T ASIC, designs that use one multiplier for many weights) keep them in a *weight store*: here all deployed
bits of weights and biases in flip-flops, loaded through one serial port, with all words at its output. Its price is what `flow.synth.open`
maps it to, its worth is what the single-bit map (`flow.robustness.single_bit_map`) says of the bits that stay unprotected.

Arrays that the stage leaves for the report (artifact ``hardened``), S shares of the deployed bits:

- ``harden_tmr_share`` (S,): protected share of all deployed bits, 0 to 1, as built (a group of ``ecc`` is never half full but once),
- ``harden_tmr_lut``, ``harden_tmr_lut6_packed``, ``harden_tmr_ff`` (S,): mapped cells more than those of the bare store,
- ``harden_tmr_visible`` (S,): visible errors that remain, in % of the upsets of the bare store,
- ``harden_tmr_degradation`` (S,): mean degradation of the task score that remains, for each upset of the bare store,
- ``harden_tmr_visible_random``, ``harden_tmr_degradation_random`` (S,): the same with as many bits chosen at random (expected value),
- ``harden_tmr_visible_msb``, ``harden_tmr_degradation_msb`` (S,): the same with the highest bits of all words first,
- the same of ``ecc``,
- ``harden_registers_*`` and ``harden_clip_*``: ``lut``, ``lut6_packed`` and ``ff`` (1,), of the whole network; ``harden_clip_visible``,
  ``harden_clip_degradation``, and ``harden_clip_clean``: degradation of clean samples (1,); ``harden_registers_changed`` and
  ``harden_registers_bare_changed``: upsets of registers that change an output, in %, with triplication and without (1,),
- ``harden_bare_visible``, ``harden_bare_degradation``, ``harden_bare_ff``, ``harden_bare_lut`` (1,): the store without protection,
- ``harden_network_lut``, ``harden_network_ff`` (1,): the unprotected network.

The rate of visible errors is the rate of upsets of a bit, times the number of deployed bits, times ``visible``. It is for each upset *of
the bare store* because a hardened one has more cells: for each upset of its own it would look better than it is.
"""
