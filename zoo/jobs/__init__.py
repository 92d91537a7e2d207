"""What commands over many items share: inputs, their survey, decoding ahead, progress, failures."""
