"""The vectors room: what a persona vector is, its file, whether it fits a model, and where a user's vectors are kept.

Knows neither how vectors are extracted nor how a model is loaded. Torch is not needed here: a vector is a numpy array
of one row per layer.
"""

from audit.vectors.cache import Added, add_vectors, find_cached, list_cached, vectors_folder
from audit.vectors.cosines import cosine_matrix
from audit.vectors.details import collect_details
from audit.vectors.file import SUFFIX, VECTOR_FORMAT, load_vector, load_vectors, read_report, save_vector, vector_files
from audit.vectors.fingerprint import Fingerprint
from audit.vectors.fit import check_fit, is_same_model
from audit.vectors.layer_rows import LayerRow, find_layer_rows
from audit.vectors.orthogonal import Orthogonal, orthogonalise
from audit.vectors.report import LayerAuc, find_auc, find_layer_arrays
from audit.vectors.vector import LAYER_CONVENTION, PURPOSES, PersonaVector

__all__ = [
    "LAYER_CONVENTION",
    "PURPOSES",
    "SUFFIX",
    "VECTOR_FORMAT",
    "Added",
    "Fingerprint",
    "LayerAuc",
    "LayerRow",
    "Orthogonal",
    "PersonaVector",
    "add_vectors",
    "check_fit",
    "collect_details",
    "cosine_matrix",
    "find_auc",
    "find_cached",
    "find_layer_arrays",
    "find_layer_rows",
    "is_same_model",
    "list_cached",
    "load_vector",
    "load_vectors",
    "orthogonalise",
    "read_report",
    "save_vector",
    "vector_files",
    "vectors_folder",
]
