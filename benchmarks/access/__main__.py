import json
import sys
from pathlib import Path

from benchmarks.access.measuring import PARTS, measure
from benchmarks.publish import Benchmark

B = Benchmark("access", "benchmarks.md", "x")
p = B.parser()
p.add_argument("--rounds", type=int, default=12)
p.add_argument("--turn-tiles", type=int, default=80)
p.add_argument("--tiles", type=Path)
p.add_argument("--only", nargs="+", choices=PARTS)


def show(r):
    for part in ("callers", "audit"):
        for k, v in r.get(part, {}).items():
            print(part, k)
            for c in v:
                print({a: (round(b, 4) if isinstance(b, float) else b) for a, b in c.items()})
    return json.dumps(r.get("flood"), indent=1)


sys.exit(B.run(p.parse_args(), measure, show))
