"""Sums the results of Check programs out of meson's test log.

usage: count_checks.py TESTLOG.JSON MESON-EXIT-CODE

Each program ends its output with "100%: Checks: 12, Failures: 0, Errors: 0". One that did not get so far (a sanitizer
stopped it, it hung) counts as one failure. Prints a line per program and the sum as the last line.
"""
import json
import re
import sys

SUMMARY = re.compile(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)")


def counts(entry):
    """(passed, failed) of one program."""
    found = SUMMARY.findall(entry.get("stdout") or "")
    checks = sum(int(f[0]) for f in found)
    failed = sum(int(f[1]) + int(f[2]) for f in found)
    if entry["result"] != "OK" and failed == 0:
        failed, checks = 1, checks + 1
    if entry["result"] == "OK" and not found:
        failed, checks = 1, 1
        print(f"{entry['name']}: no count in its output: is it a Check program?")
    return checks - failed, failed


def main():
    path, code = sys.argv[1], int(sys.argv[2])
    passed = failed = 0
    with open(path, encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            good, bad = counts(entry)
            passed, failed = passed + good, failed + bad
            print(f"{'FAIL' if bad else 'ok  '} {entry['name']}: {good} passed, {bad} failed ({entry['duration']:.1f} s)")
    if code != 0 and failed == 0:
        failed = 1
        print(f"FAIL meson test ended with code {code}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


sys.exit(main())
