"""Templates, scripts and styles of the reports that a user takes away."""
