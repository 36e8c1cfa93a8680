"""The encoder–decoder Transformer as a tool: train one on your own parallel text, use it, look inside it.

    import zhuyi

    zhuyi.train(zhuyi.load_config("en-de.toml"), "en-de")
    translator = zhuyi.load("en-de")
    translator.translate(["A dog runs."])

Each name is imported when it is first asked for, because torch takes seconds to load and not everything needs it;
`__init__.pyi` says which names there are and where each one lives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
