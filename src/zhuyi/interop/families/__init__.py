"""Families of models: what each is in our terms."""
