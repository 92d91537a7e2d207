"""Models of transformers that zoo does not implement, behind the contract."""
