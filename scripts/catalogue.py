"""The catalogue of cases, and the tests that carry their names, out of the output of cargo test."""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
CASES = REPOSITORY / "tests" / "cases.tsv"

GROUPS = {
    "P": "Probe, primary and failover",
    "N": "Network",
    "S": "Streams",
    "I": "Identity of an LLM",
    "K": "Secrets",
    "E": "Managed engine",
    "G": "Signals, disk, environment",
    "C": "Config and provider file",
    "A": "Authorisation in mcpd",
    "X": "The proxy and the web",
    "D": "Database and life cycle of mcpd",
}

# "     Running tests/cli/main.rs (…/deps/cli-0123)", "   Doc-tests fakes"
BINARY = re.compile(r"^\s+(?:Running (?:unittests )?(\S+) \(.*?([\w-]+)-[0-9a-f]+\)|Doc-tests (\S+))")
# "test failover::tests::p07_a_denied_probe_is_final ... ok"
TEST = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (.*)$")
# "== on PostgreSQL": the same programs once more, somewhere else. Any other such line ends that.
ELSEWHERE = re.compile(r"^== (on \S+)?")
VERDICT = re.compile(r"^(ok|FAILED|ignored)\b")
SKIPPED = re.compile(r"SKIPPED: (\S+): ")
CASE_ID = re.compile(r"^([a-z]\d{2})_")


class Case(NamedTuple):
    """A row of the catalogue."""

    id: str
    situation: str
    expected: str


class Test(NamedTuple):
    """One test of one test program."""

    program: str
    name: str
    result: str

    @property
    def case(self) -> str | None:
        match = CASE_ID.match(self.name.rsplit("::", 1)[-1])
        return match.group(1).upper() if match else None


def read_cases() -> list[Case]:
    """The cases in their order. A case without an expectation is none of this project's."""
    rows = (line.split("\t") for line in CASES.read_text().splitlines() if line)
    return [Case(row[0], row[1], row[2] if len(row) > 2 else "") for row in rows]


def read_tests(output: str) -> list[Test]:
    """The tests in the output of `cargo test`, each with its last result."""
    tests: dict[tuple[str, str], str] = {}
    skipped: set[str] = set()
    program, elsewhere, waiting = "?", "", None
    for line in output.splitlines():
        skipped.update(SKIPPED.findall(line))
        if match := ELSEWHERE.match(line):
            elsewhere = f", {match.group(1)}" if match.group(1) else ""
        elif match := BINARY.match(line):
            source, name, documented = match.groups()
            program, waiting = (f"{name} ({source})" if name else f"{documented} (examples)") + elsewhere, None
        elif match := TEST.match(line):
            name, rest = match.groups()
            waiting = name
            if verdict := VERDICT.match(rest):
                tests[program, name], waiting = verdict.group(1), None
        elif waiting and (verdict := VERDICT.match(line)):
            # What the test printed stood between its name and its result.
            tests[program, waiting], waiting = verdict.group(1), None
    words = {"ok": "passed", "FAILED": "**failed**", "ignored": "ignored"}
    return [
        Test(program, name, "skipped" if name in skipped and result == "ok" else words[result])
        for (program, name), result in tests.items()
    ]
