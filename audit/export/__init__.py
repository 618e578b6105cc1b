"""The filtered dataset: kept records byte for byte or converted, the others beside them, a manifest and a card."""

from audit.export.job import export_run
from audit.export.receipt import ExportReceipt

__all__ = ["ExportReceipt", "export_run"]
