"""Training recipes: python -m zoo.recipes.FAMILY.train."""
