"""From the tokens of the source to hypotheses: batching, device and search, behind one interface."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
