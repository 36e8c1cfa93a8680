from . import filters as filters
from .hypothesis import Candidate as Candidate
from .hypothesis import Hypothesis as Hypothesis
from .search import STRATEGIES as STRATEGIES
from .search import Stepper as Stepper
from .search import Strategy as Strategy
from .search import search as search
