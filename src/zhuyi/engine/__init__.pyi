from .choice import ENGINES as ENGINES
from .choice import engine_of as engine_of
from .protocol import Engine as Engine
from .torch import TorchEngine as TorchEngine
