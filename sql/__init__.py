"""Named queries, one file each; `audit.query` reads their comment headers."""
