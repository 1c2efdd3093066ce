"""What happens beat by beat in one strip, counted, so that a report can say how many and of which kind."""

from itertools import pairwise
from statistics import median

from ecglib.data.synthetic.rhythm import ABERRANT, CONDUCTED, ECTOPIC_P, FUSION, PREMATURE, SINUS_P, Rhythm

INTERPOLATED = 1.2  # two conducted beats around a premature one lie no further apart than this many cycles


def count_events(beats: Rhythm, duration_s: float) -> dict[str, int | str]:
    """Events within the strip, from 0 to ``duration_s``; the same names as a cart's statements use.

    n_pvc (fusion beats included), n_fusion, n_pac (premature P waves, blocked ones included), n_sinus_p, n_aberrant,
    n_interpolated, couplets and longest_run (of premature ventricular beats), flutter_ratio (0 where it varies or
    there is no flutter), paced ("", "A", "V" or "AV": the chambers that stimuli were given to).
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
        "n_interpolated": _interpolated(seen),
        "couplets": runs.count(2),
        "longest_run": max(runs, default=0),
        "flutter_ratio": _flutter_ratio(beats, [t for t, _ in seen]),
        "paced": "".join(sorted({chamber for t, chamber in beats.spikes if 0 <= t <= duration_s})),
    }


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
