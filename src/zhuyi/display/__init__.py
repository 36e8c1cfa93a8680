"""What the command line shows: the progress of a run, the report on a corpus, the end of a demo."""

from zhuyi.display.answers import show_demo
from zhuyi.display.progress import ProgressDisplay
from zhuyi.display.report import show_report

__all__ = ["ProgressDisplay", "show_demo", "show_report"]
