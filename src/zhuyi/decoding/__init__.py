"""From a model's next-token distributions to whole output sequences."""

from zhuyi.decoding.hypothesis import Hypothesis, SearchOptions
from zhuyi.decoding.search import STRATEGIES, Model, Strategy, search

__all__ = ["STRATEGIES", "Hypothesis", "Model", "SearchOptions", "Strategy", "search"]
