"""How fast the operators are, each against the formulation that peers use, with one thread.

Run as ``python -m benchmarks.ops [family ...]`` (``make bench-ops``). Times are CPU time, medians of rounds in which
both ways take turns; "of copy speed" compares with a copy of as many bytes as the operator has to move. Every family
runs in a process of its own, with the allocator that it asks for.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pkgutil import iter_modules

from rich.console import Console

from benchmarks import operators
from benchmarks.operators.measure import measure, table
from src.ops.library import backends

# By default glibc gives outputs of some megabytes back to the system, which clears them anew at the next call. That
# costs more than most operators, and would be all that is measured.
KEEPING_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


def main() -> None:
    """Measure the families of operators and print a table of each."""
    families = [module.name for module in iter_modules(operators.__path__) if module.name != "measure"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="family", help=f"of {', '.join(families)}; all if none is given")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.families) - set(families):
        parser.error(f"no family {', '.join(sorted(unknown))}; there are {', '.join(families)}")
    for family in arguments.families or families:
        for name, value in KEEPING_ALLOCATOR.items():
            os.environ[name] = value
            if hasattr(import_module(f"benchmarks.operators.{family}"), "DEFAULT_ALLOCATOR"):
                del os.environ[name]
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            process.submit(run, family, arguments.rounds).result()


def run(family: str, rounds: int) -> None:
    """Measure one family in this process."""
    module, console = import_module(f"benchmarks.operators.{family}"), Console(width=130)
    allocator = "that keeps its memory" if KEEPING_ALLOCATOR.keys() <= os.environ.keys() else "as it comes"
    kinds = ", ".join(f"{device} {backend}" for device, backend in backends().items())
    if rows := measure(module.cases(), rounds):
        console.print(table(f"{family}: {kinds}; allocator {allocator}", rows))
    for line in module.notes() if hasattr(module, "notes") else ():
        console.print(line)


if __name__ == "__main__":
    main()
