#!/usr/bin/env python3
"""Sees that each case of BROKER.md that is to have a test has one, and that the tests in the table are there."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = {*range(30, 51), *range(53, 59)}


def tests():
    """Names of all tests: Suite.Name of the units, system.NAME of whole processes."""
    names = set()
    for source in ROOT.glob("libs/*/test/*.cpp"):
        names.update(f"{suite}.{name}" for suite, name in
                     re.findall(r"^TEST(?:_F)?\((\w+),\s*(\w+)\)", source.read_text(), re.MULTILINE))
    listed = (ROOT / "tests/system/CMakeLists.txt").read_text()
    for name in re.findall(r"^\s*system_test\((\S+)", listed, re.MULTILINE):
        names.update(f"system.{name.replace('${setup}', setup)}" for setup in ("embedded", "pronto", "rabbitmq"))
    return names


def main():
    known, wrong, seen = tests(), [], set()
    for number, held_by in re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", (ROOT / "tests/README.md").read_text(),
                                      re.MULTILINE):
        seen.add(int(number))
        named = re.findall(r"`([^`]+)`", held_by)
        if not named:
            wrong.append(f"case {number} has no test")
        wrong += [f"case {number}: there is no test {name}" for name in named if name not in known]
    wrong += [f"case {number} is not in tests/README.md" for number in sorted(CASES - seen)]
    print("\n".join(wrong) if wrong else f"{len(seen)} cases, each with its tests")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
