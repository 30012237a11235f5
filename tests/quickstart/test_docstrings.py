"""Docstrings are read from source files: the right ones, under the right names, cleaned to plain text."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from hf_cocondenser.data.text import first_sentence
from hf_cocondenser.quickstart.cleaning import plain_paragraphs, split_docstring
from hf_cocondenser.quickstart.docstrings import Docstring, package_folders, read_docstrings

BODY = "The rest of the text goes on for a while and says in plain words what a reader of it should know about that."
MODULE = f'''"""Tools for the keeping of bees.

{BODY} {BODY}
"""
import does_not_exist_and_must_never_be_imported

class Hive:
    """A wooden box with some frames.

    {BODY} {BODY}
    """

    def open(self):
        """Open the lid of the hive slowly.

        {BODY} {BODY}
        """

        def smoke():
            """Blow some smoke into the hive.

            {BODY} {BODY}
            """

if True:
    def count(bees):
        """Count all of the flying bees.

        {BODY} {BODY}
        """

def short():
    """Too short to be of any use."""

add_docstr(apiary.swarm, r"""
swarm(hive, *, out=None) -> Hive

Divide a colony of bees into {{two}} halves.

{BODY} {BODY}
""".format(**common_args))
add_newdoc("apiary.core", "queen", ("age", """Return the age of the queen.

{BODY} {BODY}
"""))
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "apiary/__init__.py": MODULE,
        "apiary/tests/helpers.py": MODULE,
        "apiary/_vendor/copy.py": MODULE,
        "apiary/test_hive.py": MODULE,
        "apiary-1.0.dist-info/notes.py": MODULE,
        "apiary/template.py": MODULE + "class {{name}}: pass",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_reads_what_is_documented_and_nothing_else(folder: Path) -> None:
    found = {docstring.qualified_name: docstring for docstring in read_docstrings([folder], processes=1)}
    assert {name: docstring.summary for name, docstring in found.items()} == {
        "apiary": "Tools for the keeping of bees.",
        "apiary.Hive": "A wooden box with some frames.",
        "apiary.Hive.open": "Open the lid of the hive slowly.",
        "apiary.count": "Count all of the flying bees.",
        "apiary.swarm": "Divide a colony of bees into halves.",
        "apiary.core.queen.age": "Return the age of the queen.",
    }
    assert {docstring.paragraphs for docstring in found.values()} == {(f"{BODY} {BODY}",)}


def test_real_package_gives_hundreds_of_documents(numpy_docstrings: list[Docstring]) -> None:
    assert Path(numpy.__file__).parents[1] in package_folders()
    found = numpy_docstrings
    assert len(found) > 500
    assert all(docstring.summary and docstring.paragraphs for docstring in found)
    assert not any("tests" in docstring.module.split(".") or ">>>" in docstring.summary for docstring in found)
    names = [docstring.qualified_name for docstring in found]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_markup_becomes_plain_words_and_examples_go() -> None:
    text = """Fit a `LinearModel` with :class:`~sklearn.linear_model.Ridge`.

Parameters
----------
alpha : float
    The ``strength`` of the [penalty](https://example.org/x).

    .. versionadded:: 1.0

:param beta: see :func:`this <that.one>`
:returns: a `guide <https://example.org>`_.

Examples
--------
>>> fit(1)
2

```python
hidden = 1

also_hidden = 2
```
"""
    assert plain_paragraphs(text) == [
        "Fit a LinearModel with sklearn.linear_model.Ridge.",
        "Parameters alpha : float The strength of the penalty.",
        "beta: see this returns: a guide.",
    ]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("Sort it, e.g. By size. Then stop.", ("Sort it, e.g. By size.", "Then stop.")),
        ("Uses numpy.sort inside and 1.5 times more.", ("Uses numpy.sort inside and 1.5 times more.", "")),
        ("今天下雨。我们在家。", ("今天下雨。", "我们在家。")),
    ],
)
def test_first_sentence(paragraph: str, expected: tuple[str, str]) -> None:
    assert first_sentence(paragraph) == expected


@pytest.mark.parametrize(
    "text",
    [
        "See the base class for it.",
        f"Short one.\n\n{BODY} {BODY}",
        f"input_ids (tensor of shape such and such): the ids of the tokens.\n\n{BODY} {BODY}",
        "Return the shape of the array.\n\nReturns: a tuple.",
        "",
    ],
)
def test_docstrings_without_a_question_or_an_answer_are_dropped(text: str) -> None:
    assert split_docstring(text) is None
