"""Models of other programs, in both directions: what they have made, and what zhuyi has trained in their formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
