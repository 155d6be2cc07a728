"""``python -m chaos``: breaks a cluster again and again, checks what it promised, and prints the table."""

from __future__ import annotations

import argparse
import signal
import sys

from chaos.campaign import CampaignOptions, campaign, discard
from chaos.faults import FAULTS, KillWorker
from chaos.report import recoveries

DEFAULTS = CampaignOptions()
RECOVERY_JOBS = 3


def main() -> int:
    """Return 0 if nothing that was promised was broken."""
    options = _options()
    if sys.platform != "linux":
        sys.stderr.write("This needs Linux, which shows processes and their environment in /proc.\n")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started must not stay behind
    chosen = _recovery(options) if options.recovery else _everything(options)
    return _run(chosen, options.recovery, keep=options.keep)


def _everything(options: argparse.Namespace) -> CampaignOptions:
    return CampaignOptions(
        jobs=options.jobs,
        faults=options.faults,
        seed=options.seed,
        limit_seconds=options.seconds_limit,
        lease_seconds=options.lease,
        clients=options.clients,
        kinds=[kind for kind in FAULTS if options.only in kind.name],
        tell=_tell,
    )


def _recovery(options: argparse.Namespace) -> CampaignOptions:
    """Return a run of one job at a time, so that a job which is to run again waits for nothing else."""
    return CampaignOptions(
        jobs=RECOVERY_JOBS,
        faults=RECOVERY_JOBS,
        seed=options.seed,
        lease_seconds=options.lease,
        clients=1,
        kinds=(KillWorker,),
        pause_seconds=(3.0, 5.0),
        epochs_factor=4.0,
    )


def _run(options: CampaignOptions, recovery_limit_seconds: float | None, *, keep: bool) -> int:
    result = campaign(options)
    sys.stdout.write(f"{result.report}\n")
    bad = result.violations > 0
    if result.shortfall:
        sys.stdout.write(f"\n{result.shortfall}\n")
        bad = True
    for complaint in result.complaints():
        sys.stdout.write(f"\n{complaint}\n")
    if recovery_limit_seconds is not None:
        seconds = max(recoveries(result.case), default=float("inf"))
        late = seconds > recovery_limit_seconds
        sys.stdout.write(
            f"worker killed -9 at a lease of {options.lease_seconds:g} s: its job ran again after {seconds:.1f} s at "
            f"the latest, wanted within {recovery_limit_seconds:g} s: {'missed' if late else 'held'}\n"
        )
        bad = bad or late
    if bad or keep:
        sys.stdout.write(f"logs: {result.home / 'logs'}\n")
    else:
        discard(result)
    return int(bad)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=DEFAULTS.jobs, help="least number of jobs")
    parser.add_argument("--faults", type=int, default=DEFAULTS.faults, help="number of faults")
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help="of jobs and faults")
    parser.add_argument("--lease", type=float, default=DEFAULTS.lease_seconds, help="seconds that a claim holds")
    parser.add_argument("--clients", type=int, default=DEFAULTS.clients, help="clients at a time")
    parser.add_argument("--seconds-limit", type=float, default=DEFAULTS.limit_seconds, help="then nothing new is begun")
    parser.add_argument("--only", default="", help="part of the names of the faults to choose from")
    parser.add_argument(
        "--recovery", type=float, help="only kill workers, and fail if a job takes more seconds until it runs again"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and store of a run without violations")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
