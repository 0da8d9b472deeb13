"""Measures the engine on this machine: `python -m inference.bench`.

The machine's own ceilings first, then stock diffusers and our engine in turns in one run, so that
whatever else the machine does falls on both. On a CPU it draws with the pocket model; on a GPU with
random weights of Krea 2's full size, made on the card. Nothing here is imported by what serves.
"""
