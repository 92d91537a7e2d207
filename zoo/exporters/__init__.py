"""Export our models to other formats."""
