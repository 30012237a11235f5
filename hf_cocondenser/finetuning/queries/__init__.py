"""Queries made from documents."""
