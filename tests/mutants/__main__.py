import argparse
import os
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.draw import Mutant, draw, files, places
from tests.mutants.reach import Reach
from tests.mutants.trial import Copy

ROOT = Path(__file__).parents[2]
STORE = ROOT / "build" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
PROOFS = ("tests/proofs/",)
SLOW = (*PROOFS, "tests/e2e/", "tests/failover/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=60, help="mutants to try, equivalent ones not counted")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="try only these of them")
    parser.add_argument("--list", action="store_true", help="draw, and try none")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="instead of all the tests of `make test`")
    parser.add_argument("--thorough", action="store_true", help="a survivor meets the tests that don't reach it, too")
    parser.add_argument("--proofs", action="store_true", help="survivors meet the tests of `make proofs`")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()

    mutants = drawn(options.seed, options.count)
    chosen = {number: mutant for number, mutant in mutants.items() if number in (options.only or mutants)}
    if options.list:
        for number, mutant in chosen.items():
            show(number, mutant)
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(ROOT, Path(folder) / str(worker)) for worker in range(options.workers)]
        suites = {"make test": Reach(ROOT, STORE / "test", copies[0], options.tests or test_files(SLOW, slow=False))}
        if options.proofs:
            suites["make proofs"] = Reach(ROOT, STORE / "proofs", copies[0], test_files(PROOFS, slow=True))
        for name, reach in suites.items():
            print(f"\n{name}: {len(reach.seconds):,} tests. Unusable, as they fail without a mutant: {reach.failing}")
        print(flush=True)
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def verdict(number: int) -> str:
            copy = free.get()
            try:
                return tried(copy, suites, number, chosen[number], thorough=options.thorough)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(options.workers) as pool:
            verdicts = dict(zip(chosen, pool.map(verdict, chosen), strict=True))
    print()
    for number, mutant in chosen.items():
        print(f"{number:>3}  {mutant.place:<45} {mutant.operator:<45} {verdicts[number]}")
    counts = Counter(verdicts.values()).most_common()
    print(f"\n{len(chosen)} mutants:", ", ".join(f"{count} {verdict}" for verdict, count in counts))


def drawn(seed: int, count: int) -> dict[int, Mutant]:
    found = places(ROOT)
    print(f"cosmic-ray {version('cosmic-ray')}, seed {seed}: ", end="")
    print(f"{sum(map(len, found.values())):,} mutations at {len(found):,} places in {len(files(ROOT))} files\n")
    reasons = equivalents()
    mutants: dict[int, Mutant] = {}
    for mutant in draw(ROOT, found, seed):
        if len(mutants) == count:
            break
        if mutant.change in reasons:
            show("=", mutant, f"equivalent: {reasons[mutant.change]}")
        else:
            mutants[len(mutants) + 1] = mutant
    return mutants


def tried(copy: Copy, suites: dict[str, Reach], number: int, mutant: Mutant, *, thorough: bool) -> str:
    met = 0
    for name, reach in suites.items():
        tests = reach.tests(mutant)
        if thorough or name == "make proofs":  # What proofs kill is a process of its own, which coverage does not see.
            tests += [test for test in reach.ordered(reach.seconds) if test not in set(tests)]
        outcome = copy.try_out(mutant, tests, timeout_s=10 * sum(reach.seconds[test] for test in tests))
        if not outcome.passed:
            show(number, mutant, f"caught by {name}: {outcome.detail}")
            return f"caught by {name}"
        met += len(tests)
    show(number, mutant, f"SURVIVED {met} tests")
    return "survived"


def show(number: int | str, mutant: Mutant, verdict: str = "") -> None:
    lines = [f"{number:>3}  {mutant.place}  {mutant.operator}", f"- {mutant.before}", f"+ {mutant.after}"]
    print("\n     ".join(lines + [verdict] * bool(verdict)), flush=True)


def equivalents() -> dict[tuple[str, str, str], str]:
    entries = [line for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    return {
        (file, before.removeprefix("- "), after.removeprefix("+ ")): reason.removeprefix("= ")
        for file, before, after, reason in zip(*[iter(entries)] * 4, strict=True)
    }


def test_files(folders: tuple[str, ...], *, slow: bool) -> list[str]:
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return [path for path in paths if path.startswith(folders) == slow]


main()
