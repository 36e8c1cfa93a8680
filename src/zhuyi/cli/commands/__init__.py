"""One command per file, which calls one public function and prints its result. Importing it adds it to the app."""

# In the order of the help page.
# isort: off
from zhuyi.cli.commands.demo import demo
from zhuyi.cli.commands.import_model import import_model
from zhuyi.cli.commands.check import check
from zhuyi.cli.commands.train import train
from zhuyi.cli.commands.config import config
from zhuyi.cli.commands.compare import compare
from zhuyi.cli.commands.translate import translate
from zhuyi.cli.commands.generate import generate
from zhuyi.cli.commands.evaluate import evaluate
from zhuyi.cli.commands.serve import serve
from zhuyi.cli.commands.export import export
from zhuyi.cli.commands.look import look

__all__ = [
    "check",
    "compare",
    "config",
    "demo",
    "evaluate",
    "export",
    "generate",
    "import_model",
    "look",
    "serve",
    "train",
    "translate",
]
