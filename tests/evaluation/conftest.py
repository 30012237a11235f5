"""A small, awkward collection and a tiny retriever."""

from tests.awkward_collection import beir_folder, corpus, make_retriever, retriever, tokenizer_file, write_beir_fixture  # noqa: F401
