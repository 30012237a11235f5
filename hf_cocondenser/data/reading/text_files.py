"""Opening text files: UTF-8, with or without a byte order mark, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hf_cocondenser.errors import InputError

_GZIP = b"\x1f\x8b"


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a plain or gzipped UTF-8 file (told by its first bytes); a byte order mark at its head is left out.

    Args:
        path: the file.
        newline: as in `open`.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or a gzipped file is damaged or cut short.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(64)
        zipped = head.startswith(_GZIP)
        if not zipped and 3 * head.count(0) > len(head):  # half of the bytes of English UTF-16 are null
            raise InputError(f"'{path}' cannot be read as UTF-8 text (it looks like UTF-16); save it as UTF-8.")
        with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline=newline) as file:
            yield file  # type: ignore[misc]
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' cannot be read as UTF-8 text ({error}); save it as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"'{path}' cannot be read: the gzipped file is damaged or cut short ({error}).") from None
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from None
