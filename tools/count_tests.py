#!/usr/bin/env python3
"""Prints "PASSED FAILED" of a JUnit report that ctest wrote. A skipped test counts as failed."""
import sys
import xml.etree.ElementTree

cases = list(xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase"))
passed = sum(1 for case in cases if case.get("status") == "run")
print(passed, len(cases) - passed)
