"""Measures, significance, reports."""
