"""From a model's next-token distributions to whole output sequences."""

from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.decoding.search import STRATEGIES, Model, Strategy, search

__all__ = ["STRATEGIES", "Hypothesis", "Model", "Strategy", "search"]
