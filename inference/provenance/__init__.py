"""What a delivered file says about itself, and what can be proved of it: mark, metadata, signature.

The order is fixed (`stamp`): pixels, then the watermark in the pixels, then metadata, and the
signature over all of it last; each step keeps what the one before it wrote.
"""
