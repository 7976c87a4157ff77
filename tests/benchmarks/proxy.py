"""How near a proxy design comes to the best of known surfaces: `python -m tests.benchmarks.proxy`.

Prints one JSON line. Forty random surfaces per level of noise: two targets with power laws, a guard that is
forgotten, 2k+1 = 7 designed runs, a fit, one more run. Gaps are of true objectives, without noise, in
parts of the best one on a lattice.

checked   the mix that was predicted and checked
reached   the best true objective within the guards among the eight runs
design    the same among the seven, centre: the even mix
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from tests.sweep.deciding.test_proxy import LATTICE, objective, proposed, surface


def gaps(seed: int, *, noise: float) -> tuple[float, float, float, float, float]:
    """Return the gaps of checked, reached, design and centre, and 1 where the guards truly hold."""
    truth = surface(seed, noise=noise)
    found, points = proposed(truth, seed=seed)
    best = min(value for value, holds in (objective(truth, shares) for shares in LATTICE) if holds)
    checked, holds = objective(truth, np.array(list(found.shares.values())))
    designed = [objective(truth, np.array(list(shares.values()))) for shares in points]
    design = min(value for value, kept in designed if kept)
    reached = min(checked, design) if holds else design
    centre = designed[0][0]
    values = ((value - best) / abs(best) for value in (checked, reached, design, centre))
    checked_gap, reached_gap, design_gap, centre_gap = values
    return checked_gap, reached_gap, design_gap, centre_gap, float(holds)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--surfaces", type=int, default=40)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.01, 0.02, 0.04])
    arguments = parser.parse_args()
    result = {}
    for noise in arguments.noise:
        rows = np.array([gaps(seed, noise=noise) for seed in range(arguments.surfaces)])
        names = ("checked", "reached", "design", "centre")
        result[f"{noise:g}"] = {
            **{f"{name}_median": round(float(np.median(rows[:, i])), 4) for i, name in enumerate(names)},
            **{f"{name}_p90": round(float(np.quantile(rows[:, i], 0.9)), 4) for i, name in enumerate(names)},
            "guards_hold": round(float(rows[:, 4].mean()), 3),
        }
    print(json.dumps({"benchmark": "proxy", "surfaces": arguments.surfaces, "noise": result}))


if __name__ == "__main__":
    main()
