"""Files of other programs, which may hold anything."""
