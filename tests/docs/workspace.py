"""The files that the pages' examples name: a folder of documents, and a judged collection."""

from __future__ import annotations

import json
from pathlib import Path

THINGS = {
    "password": ("account settings", "a letter, a digit and a sign", "nobody else can sign in with the old one"),
    "invoice": ("billing page", "the customer number", "the accountant gets a copy by mail"),
    "printer": ("device manager", "the cable or the network name", "a test page comes out"),
    "calendar": ("team space", "the time zone", "all guests are told of it"),
    "backup": ("storage console", "a second disk", "yesterday's files can be read again"),
    "holiday": ("staff portal", "the days that are left", "your manager says yes or no within a week"),
    "parking place": ("reception desk", "the number plate", "the gate opens by itself"),
    "laptop": ("hardware shop", "the serial number", "it comes with a charger and a bag"),
    "newsletter": ("marketing tool", "the list of readers", "it goes out on Monday morning"),
    "meeting room": ("booking screen", "the number of chairs", "the door shows your name"),
}
TASKS = {
    "reset": "start again from the beginning with",
    "cancel": "give up",
    "order": "ask for a new",
    "share": "let others use",
    "report": "tell us of trouble with",
}


def write_workspace(folder: Path) -> None:
    """Write `my_documents/` (Markdown), `documents.jsonl`, `my_data/` (a BEIR folder with three splits), and `judged/`."""
    (folder / "my_documents").mkdir()
    (folder / "my_data" / "qrels").mkdir(parents=True)
    corpus, queries, judged = [], [], []
    for thing, (place, need, outcome) in THINGS.items():
        for task, words in TASKS.items():
            title = f"{task.capitalize()} a {thing}"
            paragraphs = [
                f"To {words} your {thing}, open the {place}. You need {need}. Choose '{task}' below the name of the {thing}."
                f" When it is done, {outcome}.",
                f"Before you begin, look whether the {place} is open to you. Ask the help desk for a key if it is not. They"
                f" want to know {need} too, and why you want to {task} the {thing}.",
                f"Afterwards {outcome}. If that does not happen within a day, go back to the {place} and try once more."
                f" Two people have to agree before a {thing} of a whole team is changed.",
            ]
            text = "\n\n".join(paragraphs)
            name = f"{task}-{thing}".replace(" ", "-")
            (folder / "my_documents" / f"{name}.md").write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
            corpus.append({"_id": name, "title": title, "text": text})
            queries.append({"_id": f"q-{name}", "text": f"how do I {task} my {thing}?"})
            judged.append(f"q-{name}\t{name}\t1\n")
    for path, rows in (
        ("documents.jsonl", corpus),
        ("my_data/corpus.jsonl", corpus),
        ("my_data/queries.jsonl", queries),
    ):
        (folder / path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for split, rows in (("train", judged[:30]), ("dev", judged[30:40]), ("test", judged[40:])):
        (folder / "my_data" / "qrels" / f"{split}.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8"
        )
    (folder / "judged" / "qrels").mkdir(parents=True)
    (folder / "judged" / "corpus").symlink_to(folder / "my_documents")
    (folder / "judged" / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries), "utf-8")
    (folder / "judged" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(line.replace("\t1", ".md\t1") for line in judged[:20]), "utf-8"
    )
