"""TREC topics, in the old form without end tags and in XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from hf_cocondenser.data.reading.table import Row, Table
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.errors import InputError

_TOPIC = re.compile(r"<(top)\b[^>]*>(.*?)(?:</top>|(?=<top\b)|\Z)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(\w+)>([^<]*(?:<(?!/?\w+>)[^<]*)*)")
_LABELS = re.compile(r"\s*(?:Number|Topic|Description|Narrative|Title)\s*:\s*", re.IGNORECASE)


def is_topics(head: str) -> bool:
    """Whether a file that begins so holds topics."""
    return (
        re.match(r"\s*(<\?xml.*?\?>\s*)?(<!.*?>\s*)*<(top|topics?|xml)\b", head, re.DOTALL | re.IGNORECASE) is not None
    )


def topic_table(path: Path) -> Table:
    """One row for each topic, its fields in the order of the file: num, title, desc, narr, or what they are called there."""
    return Table(str(path), partial(_rows, path))


def _rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        text = file.read()
    if re.search(r"<top\b", text, re.IGNORECASE):
        for topic in _TOPIC.finditer(text):
            fields = {
                name.lower(): " ".join(_LABELS.sub("", value, 1).split()) for name, value in _FIELD.findall(topic[2])
            }
            yield text.count("\n", 0, topic.start()) + 1, fields
        return
    if "<!ENTITY" in text:
        raise InputError(f"'{path}' defines entities of XML, which are not read; write the topics without them.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"'{path}' line {error.position[0]} is not valid XML ({error}).") from None
    for number, element in enumerate(root.iter("topic"), start=1):
        parts = {child.tag.lower(): child for child in element} or {"text": element}
        fields = {name: " ".join("".join(part.itertext()).split()) for name, part in parts.items()}
        yield number, {**{name.lower(): value for name, value in element.attrib.items()}, **fields}
