"""CLAP: sounds and music, and text about them, in one space."""
