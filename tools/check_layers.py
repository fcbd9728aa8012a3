#!/usr/bin/env python3
"""Holds every #include against the layers that its own layer may use, as the MAY_USE lines say.

The compiler does not find such a header either (check_headers.py); this says it in a second, with the line that forbids
it, and for the tests, too. Prints what is wrong and ends with 1.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]pronto/(\w+)/', re.MULTILINE)
# What joins both ends, and tests that need a lower layer's fixtures, say so with TEST_LINK.
LAYER = re.compile(r"pronto_layer\((\w+)(.*?)\n?\)", re.DOTALL)
WORDS = {"SOURCES", "MAY_USE", "LINK", "PUBLIC_LINK", "TESTS", "TEST_LINK"}


def after(words, keyword):
    taken, inside = [], False
    for word in words:
        if word in WORDS:
            inside = word == keyword
        elif inside:
            taken.append(word)
    return taken


def main():
    wrong = []
    for cmake in sorted(ROOT.glob("libs/*/CMakeLists.txt")):
        found = LAYER.search(cmake.read_text())
        if not found:
            wrong.append(f"{cmake.relative_to(ROOT)}: declares no layer")
            continue
        name, words = found.group(1), found.group(2).split()
        may_use = {name, *after(words, "MAY_USE")}
        in_tests = may_use | {word.removeprefix("pronto_").removeprefix("pronto::") for word in after(words, "TEST_LINK")}
        for source in sorted(cmake.parent.rglob("*.[ch]pp")):
            allowed = in_tests if "test" in source.relative_to(cmake.parent).parts else may_use
            for layer in INCLUDE.findall(source.read_text()):
                if layer not in allowed:
                    wrong.append(f"{source.relative_to(ROOT)}: {name} may not use {layer}")
    print("\n".join(wrong) if wrong else "every include is one that its layer may use")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
