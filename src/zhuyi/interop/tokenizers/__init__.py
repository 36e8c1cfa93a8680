"""Vocabularies and tokenizers of other programs as ours."""
