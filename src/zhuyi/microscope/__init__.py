"""The microscope: every value of one's own model, for one sentence."""
