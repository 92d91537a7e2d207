"""Code shared by the commands that process many items: inputs, survey, decoding, progress, failures."""
