"""Cost of secure aggregation: bytes of a round's messages against plain updates, and CPU time.

    python -m benchmarks.secure_aggregation [--cases adapters_10 ...] [--bits 32] [--json FILE]

Random changes of made-up layers: n sites, of which each trains some of the layers, so that every
layer has the same number of sharers. Bytes are those of the messages as they are sent. CPU seconds
are those of one site (keys, shares, masks, and what it gives to unmask), and of the server's
unmasking where a fifth of the sites are lost after their shares came.
"""

import argparse
import itertools
import os
import pathlib
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks import reporting
from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.messages import Update
from f3ocus_jax.deployment.parameters import Parameters
from f3ocus_jax.deployment.secure import unmasking
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.messages import (
    Keys,
    MaskedUpdate,
    Shares,
    SharesTask,
    Unmasking,
    UnmaskTask,
)
from f3ocus_jax.deployment.secure.participant import Participant
from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import Rules
from f3ocus_jax.deployment.secure.unmask_plan import make_plan

CASES = {
    "adapters_10": (10, 12, 4, 74_544),
    "adapters_50": (50, 12, 4, 74_544),
    "blocks_5": (5, 12, 4, 7_087_872),
}
"""Sites, layers of the model, layers that a site trains, numbers of a layer (ViLT-B/32)."""

NUMBER = 1
WEIGHT = 1000
COUNTS = np.array([WEIGHT, 0], np.uint64)
LOSSES_S = np.ones(20, np.float32)


def make_roster(sites: Mapping[str, Participant], layers: int, trained: int) -> Roster:
    """Returns the list of sites in which site k trains the layers from k on, in a circle."""
    names = tuple(sorted(sites))
    trains_KP = np.zeros((len(names), layers), bool)
    for index in range(len(names)):
        trains_KP[index, (index + np.arange(trained)) % layers] = True
    advertised = tuple(sites[name].advertised for name in names)
    return Roster(NUMBER, names, advertised, trains_KP, layers, WEIGHT)


Masked = dict[str, dict[int, Piece]]


def mask_all(
    sites: Mapping[str, Participant], roster: Roster, rules: Rules, size: int
) -> tuple[dict[str, list[bytes]], Masked]:
    """Returns (encrypted shares of every site, its masked pieces)."""
    shares = {name: sites[name].share(roster) for name in roster.names}
    change = np.random.default_rng(0).normal(scale=0.01, size=size)
    fixed, masked = rules.fixed_point(len(sites)), {}
    for name in roster.names:
        own = roster.pieces(roster.index(name), rules)
        pieces = {piece: Piece(fixed.encode(change)[0], COUNTS) for piece in own}
        opened = sites[name].open(sent_to(name, roster, shares, roster.names))
        masked[name] = sites[name].mask(opened, pieces)
    return shares, masked


def sent_to(
    name: str, roster: Roster, given: Mapping[str, list[bytes]], senders: Sequence[str]
) -> dict[str, bytes]:
    """Returns what some sites have sent to one of them, by the site that sent it."""
    others = [other for other in senders if other != name]
    return {other: given[other][roster.place(name, other)] for other in others}


def run_case(name: str, bits: int) -> dict[str, Any]:
    """Plays one round, and returns its row of the table."""
    count, layers, trained, size = CASES[name]
    rules, clock = Rules("a hash", bits, 1.0, 0.5, 1, {}), time.process_time
    names = [f"site {index:02}" for index in range(count)]
    began = clock()
    sites = {each: Participant(each, NUMBER, rules, os.urandom) for each in names}
    roster = make_roster(sites, layers, trained)
    shares, masked = mask_all(sites, roster, rules, size)
    survivors = tuple(names[count // 5 :])
    by_site = {each: sites[each].confirm() for each in names}
    confirmed = {
        each: list(sent_to(each, roster, by_site, survivors).values()) for each in survivors
    }
    revealed = {each: sites[each].unmask(survivors, confirmed[each]) for each in survivors}
    of_sites = clock() - began
    plan = make_plan(roster, rules, tuple(names), survivors)
    began = clock()
    unmasking.sums(roster, rules, plan, masked, revealed)
    of_server, one = clock() - began, names[-1]
    rows = np.array([piece.numbers for piece in masked[one].values()])
    counts = np.tile(COUNTS, (trained, 1))
    answers = (
        Keys(NUMBER, one, sites[one].advertised),
        Shares(NUMBER, one, shares[one]),
        MaskedUpdate(NUMBER, one, rows, {}, counts, LOSSES_S, by_site[one]),
        Unmasking(NUMBER, one, *revealed[one]),
    )
    tasks = (SharesTask(NUMBER, one, roster), UnmaskTask(NUMBER, one, survivors, confirmed[one]))
    for_one = sum(map(len, sent_to(one, roster, shares, names).values()))
    plain = len(wire.encode(plain_update(one, trained, size)))
    up, down = (sum(len(wire.encode(each)) for each in some) for some in (answers, tasks))
    return {
        "case": name,
        "sites": count,
        "bits": bits,
        "plain update, MB": round(plain / 1e6, 3),
        "up, MB": round(up / 1e6, 3),
        "up / plain": round(up / plain, 3),
        "down, MB": round((down + for_one) / 1e6, 3),
        "CPU s of a site": round(of_sites / count, 2),
        "CPU s of the server": round(of_server, 2),
    }


def plain_update(site: str, trained: int, size: int) -> Update:
    """Returns the update that a site would send in the open."""
    rows = {"kernel": np.zeros((trained, size), np.float32)}
    parameters = Parameters(np.arange(trained, dtype=np.int32), rows, {})
    return Update(NUMBER, site, parameters, LOSSES_S, WEIGHT)


def main() -> None:
    """Prints the table, and writes it where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--bits", nargs="*", type=int, choices=(16, 32, 64), default=[16, 32])
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    versions = {name: metadata.version(name) for name in ("cryptography", "numpy")}
    hardware = f"{platform.machine()}, {os.cpu_count()} CPU cores"
    print(f"{hardware}; {versions}")
    rows = []
    for pair in itertools.product(given.cases, given.bits):
        rows.append(run_case(*pair))
        if len(rows) == 1:
            print(" | ".join(rows[0]))
        print(" | ".join(map(str, rows[-1].values())), flush=True)
    reporting.write(given.json, hardware, versions, rows, {})


if __name__ == "__main__":
    main()
