from .protocol import Engine as Engine
from .torch import TorchEngine as TorchEngine
