"""The extraction room: a trait in words → contrastive answers → judged → differences of activations → a vector file.

Knows no demo and no command line; a judge is a value that is passed in.
"""

from audit.extract.asking import Sampling
from audit.extract.job import ExtractConfig, Extraction, extract_vectors
from audit.extract.statistics import Separation
from audit.extract.trust import recheck_vector

__all__ = ["ExtractConfig", "Extraction", "Sampling", "Separation", "extract_vectors", "recheck_vector"]
