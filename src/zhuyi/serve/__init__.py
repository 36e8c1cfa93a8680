"""`zhuyi serve`: models over HTTP, with the APIs that programs already use.

    service = Service(Models(["en-de"]))
    run(service)                                            until SIGTERM or Ctrl-C
    app = application(service)                              for an ASGI server of your own
    answers = await service.translate(Query(["A dog."]))    for an API of your own

Needs the extra "serve".
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
