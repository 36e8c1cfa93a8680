"""Tokenisation: lines to tokens, and tokens back to lines."""
