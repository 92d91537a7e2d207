"""Our models in other forms."""
