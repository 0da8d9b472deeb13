"""Krea 2's transformer in fewer and larger kernels, computing what diffusers' class computes.

`model.Transformer` is what the engine calls; `build.build` makes it from a checkpoint's tensors.
Decision: only the repeated block is our own code, because that is where the time goes. Everything
that runs once for a request (text fusion, time embedding, rotary tables) is diffusers' module,
called once instead of once a step. Rejected: hooks on the stock blocks, which cannot fuse
projections without keeping both copies of 24 GB of weights.
"""
