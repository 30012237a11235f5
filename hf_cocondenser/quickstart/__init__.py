"""The whole road on real text: documentation (or own documents) to an evaluated retriever in minutes."""
