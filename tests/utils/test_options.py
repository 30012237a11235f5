"""One check of every configuration, from the types of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from transformers import HfArgumentParser, TrainingArguments

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.options import PositiveInt, ProperShare, check, option


@dataclass
class Config:
    size: PositiveInt = option(4, "how many")
    share: ProperShare | None = option(None, "what share")
    rate: float = option(0.1, "how fast")
    quick: bool = option(False, "whether it is quick")
    sampling: Literal["random", "top", "simans"] = option("random", "how")
    kinds: list[Literal["a", "b"]] = option(lambda: ["a"], "which")
    name: str | None = option(None, "what it is called")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"sampling": "simms"},
            r"sampling is 'simms'; choose one of random, top, simans \(did you mean 'simans'\?\).",
        ),
        ({"sampling": None}, "choose one of"),
        ({"size": 0}, "size is 0; it must be at least 1."),
        ({"size": 2.5}, "it must be a whole number"),
        ({"size": True}, "it must be a whole number"),
        ({"size": None}, "it must be a whole number"),
        ({"share": 1.0}, "share is 1.0; it must be at least 0 and below 1."),
        ({"rate": "fast"}, "it must be a number"),
        ({"rate": float("nan")}, "it must be a number"),
        ({"quick": "no"}, "it must be true or false"),
        ({"kinds": "a"}, "it must be a list"),
        ({"kinds": ["a", "c"]}, "choose one of a, b"),
        ({"name": 3}, "it must be a text"),
    ],
)
def test_what_does_not_fit_its_type(settings, words):
    with pytest.raises(InputError, match=words):
        Config(**settings)


def test_what_fits():
    Config(size=np.int64(3), share=0, rate=1, kinds=[], name="x")


def test_fields_of_transformers_are_left_to_transformers(tmp_path):
    @dataclass
    class Arguments(TrainingArguments):
        chunks: PositiveInt = 3

        def __post_init__(self) -> None:
            super().__post_init__()
            check(self)

    globals()["Arguments"] = Arguments
    Arguments(str(tmp_path), report_to=[], use_cpu=True)
    with pytest.raises(InputError, match="chunks"):
        Arguments(str(tmp_path), report_to=[], use_cpu=True, chunks=0)


def test_transformers_own_parser_takes_the_configuration():
    @dataclass
    class Small:
        size: PositiveInt | None = option(4, "how many")

    globals()["Small"] = Small
    (config,) = HfArgumentParser(Small).parse_args_into_dataclasses(["--size", "5"])
    assert config.size == 5
