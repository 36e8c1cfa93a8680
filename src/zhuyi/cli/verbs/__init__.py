"""The verbs, one a file: each calls one public function and prints what it gives. Importing one adds it to the app."""

# In the order of the help page.
# isort: off
from zhuyi.cli.verbs.demo import demo
from zhuyi.cli.verbs.import_model import import_model
from zhuyi.cli.verbs.check import check
from zhuyi.cli.verbs.train import train
from zhuyi.cli.verbs.config import config
from zhuyi.cli.verbs.compare import compare
from zhuyi.cli.verbs.translate import translate
from zhuyi.cli.verbs.generate import generate
from zhuyi.cli.verbs.evaluate import evaluate
from zhuyi.cli.verbs.serve import serve
from zhuyi.cli.verbs.export import export
from zhuyi.cli.verbs.look import look

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
