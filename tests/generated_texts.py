"""Text that is the same for ever: documents of topics, each with words of its own among common ones."""

from __future__ import annotations

import random
from itertools import accumulate

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "or")]


def documents(count: int = 160, topics: int = 40, seed: int = 7) -> list[list[str]]:
    """Documents as lists of paragraphs of several lines; two of `topics` topics in each."""
    generator = random.Random(seed)
    words = sorted({"".join(generator.choices(_SYLLABLES, k=generator.randint(2, 4))) for _ in range(3000)})
    generator.shuffle(words)
    common, size = words[:120], 60
    of_topic = [words[120 + size * topic : 120 + size * (topic + 1)] for topic in range(topics)]
    weights = [list(accumulate(1 / rank for rank in range(1, many + 1))) for many in (len(common), size)]
    found = []
    for _ in range(count):
        own = generator.sample(range(topics), 2)
        paragraphs = []
        for _ in range(generator.randint(6, 20)):
            lines = []
            for _ in range(generator.randint(3, 7)):
                line = [
                    generator.choices(common, cum_weights=weights[0])[0]
                    if generator.random() < 0.5
                    else generator.choices(of_topic[generator.choice(own)], cum_weights=weights[1])[0]
                    for _ in range(generator.randint(6, 12))
                ]
                lines.append(" ".join(line).capitalize() + ".")
            paragraphs.append("\n".join(lines))
        found.append(paragraphs)
    return found
