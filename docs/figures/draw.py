"""Draw the documentation's figures: `python docs/figures/draw.py` writes the SVG files beside this script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
INK, MUTED = "#1f2937", "#6b7280"
COLOURS = {  # fill, border
    "early": ("#dbeafe", "#3b82f6"),
    "late": ("#e0e7ff", "#6366f1"),
    "head": ("#fef3c7", "#d97706"),
    "cls": ("#d1fae5", "#059669"),
    "loss": ("#fee2e2", "#dc2626"),
    "plain": ("#f3f4f6", "#9ca3af"),
    "none": ("#ffffff", "#d1d5db"),
}


class Figure:
    """A canvas whose origin is the upper left corner, in pixels."""

    def __init__(self, name: str, width: int, height: int, title: str) -> None:
        self.name = name
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="14" role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0,0.5 L7.5,4 L0,7.5 z" fill="{MUTED}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>',
        ]

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", size: int = 14, **style: str) -> None:
        """One line; `y` is its middle."""
        attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in ({"fill": INK} | style).items())
        self.parts.append(
            f'<text x="{x:g}" y="{y + size * 0.35:g}" text-anchor="{anchor}" font-size="{size}"{attributes}>'
            f"{escape(words)}</text>"
        )

    def box(
        self, x: float, y: float, w: float, h: float, words: str = "", kind: str = "plain", size: int = 14
    ) -> None:
        """A rounded box; `words` may have several lines."""
        fill, border = COLOURS[kind]
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" stroke="{border}" '
            'stroke-width="1.3"/>'
        )
        lines = words.split("\n") if words else []
        for number, line in enumerate(lines):
            offset = (number - (len(lines) - 1) / 2) * size * 1.3
            self.text(x + w / 2, y + h / 2 + offset, line, size=size)

    def arrow(self, *points: tuple[float, float], dashed: bool = False, tip: bool = True, colour: str = MUTED) -> None:
        """A line through the points, with a tip at its end."""
        path = " L".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        end = ' marker-end="url(#tip)"' if tip else ""
        self.parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"{dash}{end}/>'
        )

    def save(self) -> None:
        """Write the file."""
        (FOLDER / f"{self.name}.svg").write_text("\n".join([*self.parts, "</svg>\n"]), encoding="utf-8")


def road() -> None:
    """From documents to a published retriever."""
    figure = Figure("road", 980, 250, "From documents to a published retriever: each step is a command")
    steps = [("documents", "none"), ("spans", "plain"), ("Condenser", "early"), ("coCondenser", "late"),
             ("retriever\nround 1", "cls"), ("retriever\nround 2", "cls")]  # fmt: skip
    commands = ["prepare", "pretrain", "pretrain", "finetune", "finetune"]
    for number, (words, kind) in enumerate(steps):
        x = 20 + number * 162
        figure.box(x, 70, 122, 56, words, kind)
        if number < len(commands):
            figure.arrow((x + 124, 98), (x + 160, 98))
            figure.text(x + 142, 55, commands[number], size=12, fill=MUTED, font_family="monospace")
    for x, words in ((425, "masked words through the CLS"), (587, "spans of a document attract")):
        figure.text(x - 20, 142, words, size=10, fill=MUTED)
    figure.text(730, 142, "BM25 negatives", size=10, fill=MUTED)
    figure.text(892, 142, "mined negatives", size=10, fill=MUTED)
    for number, (name, words) in enumerate(
        [("search", "index and query"), ("evaluate", "beside BM25, with intervals"), ("publish", "model card, Hub")]
    ):
        x = 300 + number * 225
        figure.box(x, 188, 200, 44, "", "none")
        figure.text(x + 100, 202, name, size=13, font_family="monospace")
        figure.text(x + 100, 220, words, size=11, fill=MUTED)
        figure.arrow((890, 150), (890, 170), (x + 100, 170), (x + 100, 186))
    figure.box(20, 188, 230, 44, "", "none")
    figure.text(135, 202, "adapt", size=13, font_family="monospace")
    figure.text(135, 220, "all of it, where nobody has judged", size=11, fill=MUTED)
    figure.arrow((81, 128), (81, 186))
    figure.text(490, 22, "One folder after each step; every step is a command and a Python function", size=13)
    figure.save()


def condenser() -> None:
    """The architecture: the head sees the late CLS and the early tokens."""
    figure = Figure("condenser", 860, 430, "Condenser: the head reads the late CLS and the early tokens")
    tokens = ["[CLS]", "whales", "[MASK]", "half", "[MASK]", "time"]
    xs = [40 + 82 * i for i in range(len(tokens))]
    rows = [(320, "early", "early layers", "1 to skip_from"), (215, "late", "late layers", "the rest of the encoder"),
            (80, "head", "Condenser head", "2 fresh layers, dropped afterwards")]  # fmt: skip
    for y, kind, name, words in rows:
        figure.box(28, y, 500, 46, "", kind)
        figure.text(566, y + 14, name, anchor="start", font_weight="bold")
        figure.text(566, y + 33, words, anchor="start", size=12, fill=MUTED)
    for x, token in zip(xs, tokens, strict=True):
        figure.box(x, 384, 66, 28, token, "cls" if token == "[CLS]" else "none", size=12)
        figure.arrow((x + 33, 382), (x + 33, 368))
        figure.arrow((x + 33, 318), (x + 33, 264))
        figure.box(x + 6, 330, 54, 26, "", "none")
        figure.box(x + 6, 225, 54, 26, "", "cls" if token == "[CLS]" else "none")
    figure.text(xs[0] + 33, 343, "CLS", size=11)
    figure.text(xs[0] + 33, 238, "CLS", size=11)
    for x in xs[1:]:  # early tokens go round the late layers
        figure.arrow((530, 343), (546, 343), (546, 178), (x + 33, 178), (x + 33, 128), dashed=True)
    figure.arrow((xs[0] + 33, 213), (xs[0] + 33, 128), colour="#059669")
    figure.text(xs[0] + 44, 196, "late CLS", anchor="start", size=12, fill="#059669")
    figure.text(566, 178, "early tokens skip the late layers", anchor="start", size=12, fill=MUTED)
    figure.box(150, 18, 250, 34, "masked-token loss of the head", "loss", size=13)
    figure.arrow((275, 78), (275, 54))
    figure.box(660, 18, 180, 34, "masked-token loss, late", "loss", size=12)
    figure.arrow((518, 263), (518, 288), (806, 288), (806, 60))
    figure.save()


def cocondenser() -> None:
    """Two spans of a document attract, all other spans of the batch repel."""
    figure = Figure("cocondenser", 860, 360, "coCondenser: two spans of a document attract, all others repel")
    figure.text(150, 24, "n documents, two spans each", font_weight="bold")
    for number in range(3):
        y = 50 + number * 100
        figure.box(30, y, 240, 78, "", "none")
        for line in range(6):
            wide = (200, 190, 205, 180, 198, 120)[line]
            figure.parts.append(f'<rect x="46" y="{y + 12 + line * 10}" width="{wide}" height="4" fill="#e5e7eb"/>')
        first, second = ((8, 38), (18, 52), (4, 46))[number]
        figure.box(42, y + first, 200, 18, f"span {number + 1}.1", "early", size=11)
        figure.box(42, y + second, 200, 18, f"span {number + 1}.2", "late", size=11)
        figure.arrow((272, y + 39), (318, y + 39))
    figure.box(322, 50, 96, 278, "the same\nencoder\n\nits late\nCLS vector", "cls", size=12)
    figure.arrow((420, 189), (470, 189))
    figure.text(650, 24, "dot products of all 2n spans", font_weight="bold")
    names = [f"{i}.{j}" for i in (1, 2, 3) for j in (1, 2)]
    left, top, side = 520, 64, 38
    for row, name in enumerate(names):
        figure.text(left - 18, top + row * side + side / 2, name, size=12, fill=MUTED)
        figure.text(left + row * side + side / 2, top - 14, name, size=12, fill=MUTED)
        for column in range(len(names)):
            kind = "none" if row == column else "cls" if row // 2 == column // 2 else "loss"
            words = "" if row == column else "+" if kind == "cls" else "\N{MINUS SIGN}"
            figure.box(left + column * side + 2, top + row * side + 2, side - 4, side - 4, words, kind, size=13)
    for number, (kind, words) in enumerate(
        [("cls", "same document"), ("loss", "other documents"), ("none", "itself: left out")]
    ):
        figure.box(500 + number * 122, 318, 16, 16, "", kind)
        figure.text(522 + number * 122, 326, words, anchor="start", size=11)
    figure.save()


def gradient_cache() -> None:
    """Three passes: vectors without a graph, their gradient, chunk by chunk with the graph."""
    figure = Figure("gradient-cache", 900, 340, "The gradient cache: a large batch in the memory of one chunk")
    columns = [
        (20, "1. Vectors", ["every chunk through the encoder", "no graph; its random state is kept"]),
        (320, "2. Gradient of the vectors", ["contrastive loss over the whole batch", "(and all processes)"]),
        (620, "3. Parameters", ["every chunk again, with a graph and the", "same random state; gradients add up"]),
    ]
    for x, title, lines in columns:
        figure.text(x + 130, 26, title, font_weight="bold", size=15)
        for number, line in enumerate(lines):
            figure.text(x + 130, 300 + number * 18, line, size=12, fill=MUTED)
    for number in range(4):
        y = 56 + number * 58
        figure.box(20, y, 88, 40, f"chunk {number + 1}", "plain", size=13)
        figure.arrow((110, y + 20), (146, y + 20))
        figure.box(150, y, 52, 40, "enc", "early", size=12)
        figure.arrow((204, y + 20), (236, y + 20))
        figure.box(240, y, 40, 40, "h", "cls", size=13)
        figure.arrow((282, y + 20), (340, y + 20))
        figure.box(480, y, 70, 40, "\N{PARTIAL DIFFERENTIAL}L/\N{PARTIAL DIFFERENTIAL}h", "loss", size=13)
        figure.arrow((446, y + 20), (478, y + 20))
        figure.arrow((552, y + 20), (630, y + 20), dashed=True)
        figure.box(634, y, 96, 40, f"chunk {number + 1}", "early", size=13)
        figure.arrow((732, y + 20), (776, y + 20))
    figure.box(344, 56, 100, 214, "loss over\nall vectors\nof the batch", "late", size=13)
    figure.box(780, 56, 100, 214, "gradient of\nthe whole\nbatch", "cls", size=13)
    figure.save()


def two_rounds() -> None:
    """Round 2 starts again from the pre-trained checkpoint, with negatives that round 1 found."""
    figure = Figure("two-rounds", 860, 276, "Fine-tuning in two rounds: round 2 starts again, with mined negatives")
    figure.box(24, 116, 120, 64, "pre-trained\ncheckpoint", "late")
    figure.box(226, 40, 150, 56, "round 1", "early")
    figure.box(226, 204, 150, 56, "round 2", "early")
    figure.box(470, 40, 150, 56, "retriever 1", "cls")
    figure.box(470, 204, 150, 56, "retriever 2\n(what you deploy)", "cls", size=13)
    figure.arrow((84, 114), (84, 68), (224, 68))
    figure.arrow((84, 182), (84, 232), (224, 232))
    figure.arrow((378, 68), (468, 68))
    figure.arrow((378, 232), (468, 232))
    figure.text(154, 54, "start", size=12, fill=MUTED)
    figure.text(154, 248, "start again", size=12, fill=MUTED)
    figure.box(690, 40, 150, 56, "its first 200\nfor each query", "plain", size=13)
    figure.arrow((622, 68), (688, 68))
    figure.text(655, 54, "search", size=12, fill=MUTED)
    figure.arrow((765, 98), (765, 150), (320, 150), (320, 202))
    figure.text(560, 138, "mined negatives: 30 at random, what is relevant left out", size=12, fill=MUTED)
    figure.arrow((265, 18), (265, 38))
    figure.arrow((265, 178), (265, 202))
    figure.text(258, 14, "BM25 negatives", size=12, fill=MUTED, anchor="end")
    figure.text(258, 170, "BM25 negatives", size=12, fill=MUTED, anchor="end")
    figure.save()


def gtr() -> None:
    """One T5 encoder for queries and passages; the cosine of projected means."""
    figure = Figure("gtr", 860, 256, "GTR: a shared T5 encoder, mean pooling, a projection, cosine")
    parts: Sequence[tuple[str, str, int]] = [
        ("T5 encoder", "early", 150), ("mean over\ntokens", "plain", 100), ("projection\nto 768", "head", 110),
        ("unit\nlength", "plain", 80)]  # fmt: skip
    for y, words in ((40, "query"), (172, "passage")):
        figure.box(24, y, 90, 52, words, "none")
        x = 160
        figure.arrow((116, y + 26), (158, y + 26))
        for name, kind, width in parts:
            figure.box(x, y, width, 52, name, kind, size=13)
            x += width + 34
            if name != parts[-1][0]:
                figure.arrow((x - 32, y + 26), (x - 2, y + 26))
    figure.arrow((706, 66), (752, 66), (752, 104))
    figure.arrow((706, 198), (752, 198), (752, 162))
    figure.box(672, 106, 164, 54, "cosine / 0.01\nboth directions", "loss", size=13)
    figure.arrow((235, 94), (235, 170), tip=False, dashed=True)
    figure.arrow((453, 94), (453, 170), tip=False, dashed=True)
    figure.text(344, 132, "shared weights", size=12, fill=MUTED)
    figure.save()


if __name__ == "__main__":
    for draw in (road, condenser, cocondenser, gradient_cache, two_rounds, gtr):
        draw()
