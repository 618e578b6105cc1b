"""The vectors room: what a persona vector is, its file, whether it fits a model, and where a user's vectors are kept.

Knows neither how vectors are extracted nor how a model is loaded. Torch is not needed here: a vector is a numpy array
of one row per layer.
"""

from audit.vectors.details import collect_details
from audit.vectors.file import SUFFIX, VECTOR_FORMAT, load_vector, load_vectors, read_report, save_vector, vector_files
from audit.vectors.fingerprint import Fingerprint
from audit.vectors.fit import check_fit
from audit.vectors.vector import LAYER_CONVENTION, PURPOSES, PersonaVector

__all__ = [
    "LAYER_CONVENTION",
    "PURPOSES",
    "SUFFIX",
    "VECTOR_FORMAT",
    "Fingerprint",
    "PersonaVector",
    "check_fit",
    "collect_details",
    "load_vector",
    "load_vectors",
    "read_report",
    "save_vector",
    "vector_files",
]
