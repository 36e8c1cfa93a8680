"""The Transformer: encode, decode, step."""
