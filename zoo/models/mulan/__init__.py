"""MuLan: music audio and text in one space."""
