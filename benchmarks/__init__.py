"""Measurements of whole work on real documents; see README.md here. Not part of the installed package."""
