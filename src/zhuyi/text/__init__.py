"""How a line becomes tokens, and tokens a line."""
