"""What happens beat by beat in one strip, counted, so that a report can say how many and of which kind."""

from itertools import pairwise
from statistics import median

from ecglib.data.synthetic.rhythm import ABERRANT, CONDUCTED, ECTOPIC_P, FUSION, PREMATURE, SINUS_P, Rhythm

INTERPOLATED = 1.2  # two conducted beats around a premature one lie no further apart than this many cycles
PATTERN_BEATS = 6  # three pairs make a bigeminy, two threes a trigeminy


def count_events(beats: Rhythm, duration_s: float) -> dict[str, int | str]:
    """Events within the strip, from 0 to ``duration_s``; the same names as a cart's statements use.

    n_pvc (fusion beats included), n_fusion, n_pac (premature P waves, blocked ones included), n_sinus_p, n_aberrant,
    n_interpolated (0 where no P shows), couplets and longest_run (of premature ventricular beats), flutter_ratio (0
    where it varies or there is no flutter), paced ("", "A", "V" or "AV": the chambers that stimuli were given to).
    """
    seen = [(t, kind) for t, kind in beats.qrs if 0 <= t <= duration_s]
    kinds = [kind for _, kind in seen]
    premature = [kind in (PREMATURE, FUSION) for kind in kinds]
    runs = _runs(premature)
    return {
        "n_pvc": sum(premature),
        "n_fusion": kinds.count(FUSION),
        "n_pac": sum(1 for t, kind in beats.p if kind == ECTOPIC_P and 0 <= t <= duration_s),
        "n_sinus_p": sum(1 for t, kind in beats.p if kind == SINUS_P and 0 <= t <= duration_s),
        "n_aberrant": kinds.count(ABERRANT),
        "n_interpolated": _interpolated(seen) if beats.atrium == "P" else 0,
        "couplets": runs.count(2),
        "longest_run": max(runs, default=0),
        "flutter_ratio": _flutter_ratio(beats, [t for t, _ in seen]),
        "paced": "".join(sorted({chamber for t, chamber in beats.spikes if 0 <= t <= duration_s})),
    }


def shows_pattern(beats: Rhythm, period: int, first_s: float, last_s: float) -> bool:
    """Whether every ``period``-th beat from ``first_s`` to ``last_s`` is premature, ventricular or atrial, and no
    other."""
    of_ventricles = [kind in (PREMATURE, FUSION) for t, kind in beats.qrs if first_s <= t <= last_s]
    of_atria = [kind == ECTOPIC_P for t, kind in sorted(beats.p) if first_s <= t <= last_s]
    return _every(of_ventricles, period) or _every(of_atria, period)


def _every(flags: list[bool], period: int) -> bool:
    first = flags.index(True) if True in flags else period
    regular = first < period and flags == [k % period == first for k in range(len(flags))]
    return regular and period * sum(flags) >= PATTERN_BEATS


def sinus_rate(beats: Rhythm, first_s: float, last_s: float) -> float:
    """Rate (1/min) of the sinus node: median interval between P waves of which no ectopic one is either; NaN where
    there are no two in a row."""
    p = [(t, kind) for t, kind in sorted(beats.p) if first_s <= t <= last_s]
    cycles = [b - a for (a, j), (b, k) in pairwise(p) if j == k == SINUS_P]
    return 60.0 / median(cycles) if cycles else float("nan")


def _runs(flags: list[bool]) -> list[int]:
    runs, length = [], 0
    for flag in [*flags, False]:
        if flag:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    return runs


def _interpolated(seen: list[tuple[float, int]]) -> int:
    """Premature beats between two conducted ones that follow each other as if nothing had happened."""
    times, kinds = [t for t, _ in seen], [kind for _, kind in seen]
    plain = [b - a for a, b, j, k in zip(times, times[1:], kinds, kinds[1:], strict=False) if j == k == CONDUCTED]
    if not plain or PREMATURE not in kinds:
        return 0
    limit = INTERPOLATED * median(plain)
    around = [i for i in range(1, len(kinds) - 1) if kinds[i - 1 : i + 2] == [CONDUCTED, PREMATURE, CONDUCTED]]
    return sum(1 for i in around if times[i + 1] - times[i - 1] <= limit)


def _flutter_ratio(beats: Rhythm, times: list[float]) -> int:
    if beats.atrium != "F" or len(times) < 3:
        return 0
    ratios = {round((b - a) / beats.cycle_s) for a, b in pairwise(times)}
    return ratios.pop() if len(ratios) == 1 else 0
