"""The filtered dataset: kept records byte for byte, the others beside them, and a manifest that says why."""

from audit.export.job import ExportReceipt, export_run

__all__ = ["ExportReceipt", "export_run"]
