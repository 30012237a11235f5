"""`python -m benchmarks.run NAME [options]`: run one benchmark and print it as JSON; `--log` adds it to the results log."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from typing import Any

from benchmarks import data, log, measure, profile, step


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--shape", default="6x384", choices=list(step.SHAPES))
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--log", action="store_true", help="add the figures to the results log")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    where = measure.machine()
    started = time.time()
    result = BENCHMARKS[options.name](options)
    line = {
        "benchmark": options.name,
        "command": "python -m benchmarks.run " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "machine": where,
        "result": result,
    }
    sys.stdout.write(json.dumps(line, indent=2) + "\n")
    if options.log:
        size = "" if options.name == "similarities" else f"/{options.shape}, {options.documents} documents"
        told = ", ".join(f"{key} {value}" for key, value in where.items())
        log.add(log.flat(result, options.name + size), command=line["command"], date=line["date"], machine=told)


BENCHMARKS: dict[str, Any] = {
    "step": lambda o: step.speed(o.shape, o.documents, o.repeats),
    "memory": lambda o: step.memory(o.shape, o.documents),
    "profile": lambda o: profile.profile(o.shape, o.documents),
    "growth": lambda o: step.growth(o.shape),
    "data": lambda o: data.data(o.documents, o.repeats),
    "similarities": lambda o: step.similarities(),
}

if __name__ == "__main__":
    main()
