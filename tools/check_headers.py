#!/usr/bin/env python3
"""Compiles what a layer may include and what it may not, with the include roots that the build gives it.

Each public header compiles alone; a header of a layer that is not on the MAY_USE line is not found. (What the text
of an include says is check_layers.py's; this is what the compiler says.)

Usage: check_headers.py BUILD_DIR. Prints what is wrong and ends with 1.
"""

import concurrent.futures
import json
import pathlib
import shlex
import subprocess
import sys

from check_layers import LAYER, ROOT, after


def layers():
    """Each layer's public headers, what it may use, by name."""
    found = {}
    for cmake in sorted(ROOT.glob("libs/*/CMakeLists.txt")):
        declared = LAYER.search(cmake.read_text())
        name, words = declared.group(1), declared.group(2).split()
        include = cmake.parent / "include"
        headers = sorted(str(header.relative_to(include)) for header in include.rglob("*.hpp"))
        found[name] = (headers, {name, *after(words, "MAY_USE")})
    return found


def commands(build):
    """How the build compiles a source of each layer: the compiler and its options, by the layer's name."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        place = pathlib.Path(entry["file"]).relative_to(ROOT).parts if entry["file"].startswith(str(ROOT)) else ()
        if len(place) == 4 and place[0] == "libs" and place[2] == "src":
            words = shlex.split(entry["command"])
            compiler = next(i for i, word in enumerate(words) if "ccache" not in word)
            options = words[compiler + 1:words.index("-o")]
            # What a header does not define itself is no matter here; nor is the layer's own src/.
            found[place[1]] = [words[compiler], *(word for word in options if word.startswith(("-I", "-std", "-D")) and
                                                  not word.endswith(f"libs/{place[1]}/src")), *systems(options)]
    return found


def systems(options):
    return [part for i, word in enumerate(options) if word == "-isystem" for part in options[i:i + 2]]


def compiles(command, header):
    """Whether a source that includes nothing else does; and what the compiler said."""
    command = [*command, "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def main():
    known, by_layer = layers(), commands(pathlib.Path(sys.argv[1]))
    cases = []
    for name, (headers, may_use) in known.items():
        command = by_layer[name]
        cases += [(name, command, header, True) for header in headers]
        cases += [(name, command, others[0], False) for other, (others, _) in known.items() if other not in may_use]
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (name, _, header, expected), (is_fine, said) in zip(
                cases, pool.map(lambda case: compiles(case[1], case[2]), cases)):
            if is_fine and not expected:
                wrong.append(f"{name} can include {header}, which it may not")
            elif not is_fine and expected:
                wrong.append(f"{header} does not compile alone in {name}:\n{said}")
            elif not is_fine and f"'{header}' file not found" not in said:
                wrong.append(f"{name} is refused {header} for another reason:\n{said}")
    forbidden = sum(not expected for _, _, _, expected in cases)
    print("\n".join(wrong) if wrong else f"{len(cases) - forbidden} headers compile alone, {forbidden} are out of reach")
    return 1 if wrong or not forbidden else 0


if __name__ == "__main__":
    sys.exit(main())
