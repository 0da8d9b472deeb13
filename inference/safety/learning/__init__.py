"""The prompt filter's school: wordings, the training of its learned head, and its evaluation.

Decision: harmful prompts are composed by rule from the policy's terms and from sentence frames
(`wordings/`), because nobody should have to write, read or store them; what the classifier learns
from (`train`) and what the filter is judged by (`test`) share no frame, subject, place or style,
and the learned head never sees the half of the terms that the test uses. Consequence: the figures
say how well the filter reads and combines, less how well it knows words that nobody listed; a set
written by hand (`by_hand.toml`) and terms that no list has say something about that. Rejected:
collecting real prompts (private, and the worst of them must not be kept), and downloading a set.
"""
