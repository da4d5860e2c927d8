"""`python -m tests.model [full]`: what was explored, and the shortest way to harm without each of the guards."""

import sys

from tests.model.explore import explore
from tests.model.guards import ASSUMED, GUARDS, SAFE, SAFE_FULL


def main() -> int:
    failed = 0
    print("Worlds in which no harm may be found:")
    for world in SAFE + (SAFE_FULL if "full" in sys.argv[1:] else []):
        found = explore(world)
        failed += found.harm is not None
        print(f"{found.states:9,} states {found.seconds:7.1f} s  {world.name}", flush=True)
        if found.harm:
            print(found.story())
    for title, guards in (("Without one guard:", GUARDS), ("Where what is taken to be so is not:", ASSUMED)):
        print(f"\n{title}")
        for guard in guards:
            found = explore(guard.without(), liveness=guard.forgets)
            failed += found.harm is None or guard.harm not in found.harm
            print(f"\n{guard.what}\n{found.story()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
