"""The small span folder of the data room's tests."""

from tests.data.conftest import spans_folder, uneven_documents, wordpiece  # noqa: F401
