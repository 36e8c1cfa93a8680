from .compare import compare as compare
from .report import Comparison as Comparison
from .report import Difference as Difference
from .report import VariantReport as VariantReport
from .runs import Planned as Planned
from .runs import Progress as Progress
