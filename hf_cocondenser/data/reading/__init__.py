"""Rows of documents, queries and pairs from whatever a user has: files of every form, folders, data sets in memory."""
