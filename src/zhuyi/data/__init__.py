"""From files to batches: corpus, store, batches, and the check of them all."""
