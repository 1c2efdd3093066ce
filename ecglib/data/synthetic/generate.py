"""One simulated record from (cohort, seed, index), or many of them side by side."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ecglib.data.labels import findings_to_labels
from ecglib.data.synthetic.body import Body, sample_body
from ecglib.data.synthetic.cases import Case, choose_conditions, clashing, completed
from ecglib.data.synthetic.cohorts import cohort_named
from ecglib.data.synthetic.noise import ward_of
from ecglib.data.synthetic.patients import sample_case, sample_person
from ecglib.data.synthetic.potentials import electrode_potentials
from ecglib.data.synthetic.recording import Disturbance, record
from ecglib.data.synthetic.stages import alone, side_by_side
from ecglib.errors import ParameterError

REPEATS = 12  # every twelfth record is the second of the patient before it


@dataclass(slots=True)
class SimulatedRecord:
    """A tracing (12, T) float32 in mV with everything that is true of it."""

    ecg_mv: np.ndarray
    report: str
    findings: tuple[str, ...]
    labels: dict[str, list[str]]
    features: dict[str, float]
    age: float
    sex: str
    patient: str
    disturbance: Disturbance


@dataclass(slots=True)
class Tracing:
    """A simulated record before its report: ``words`` is the generator that the report draws from."""

    ecg_mv: np.ndarray
    case: Case
    findings: tuple[str, ...]
    features: dict[str, float]
    patient: str
    words: np.random.Generator
    disturbance: Disturbance
    body: Body


@dataclass(slots=True)
class Heart:
    """A record before its recording: electrode potentials (9, T) of the padded record, what is true of it, and
    what ``recording.record`` takes: generators, level of noise, mains frequency."""

    clean_mv: np.ndarray
    case: Case
    findings: tuple[str, ...]
    features: dict[str, float]
    patient: str
    words: np.random.Generator
    noise_rngs: tuple
    level: float
    mains_hz: float
    body: Body


def simulate_record(
    cohort: str, seed: int, index: int, sampling_rate_hz: float = 500, duration_s: float = 10.0, codes=None
) -> SimulatedRecord:
    """Record ``index`` of a simulated cohort: the same for every machine, worker and order of calls.

    At 100 Hz and 500 Hz the same tracing comes out. ``codes`` asks for given conditions, for example ``["AFIB"]``, or
    for none, ``[]``, instead of a draw from the cohort's mixture; what a measurement defines, such as CR or LOWT, is
    sought and not found in every heart. ParameterError on an unknown cohort or condition, on two conditions that no
    tracing shows together, and on a negative number, a rate outside 50 to 2000 Hz or less than 2 s.
    """
    return alone(record_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes))


def simulate_records(
    cohort: str, seed: int, indices: Iterable[int], sampling_rate_hz: float = 500, duration_s: float = 10.0, codes=None
) -> Iterator[SimulatedRecord]:
    """The records that `simulate_record` makes of each of the ``indices``, in less time; see `stages`."""
    return side_by_side(record_steps(cohort, seed, i, sampling_rate_hz, duration_s, codes) for i in indices)


def simulate_tracing(cohort, seed, index, sampling_rate_hz, duration_s, codes=None) -> Tracing:
    """Everything but the words.

    ``codes`` asks for given conditions (keys of a cohort's weights; none: a healthy heart) instead of the cohort's
    mixture, and for what they cannot be without (`cases.completed`); ParameterError on one that is not known.
    """
    return alone(_tracing_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes))


def simulate_heart(cohort, seed, index, sampling_rate_hz, duration_s, codes=None) -> Heart:
    """The heart of ``simulate_tracing``, not yet recorded; the same arguments."""
    return alone(_heart_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes))


def record_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes=None):
    """Steps to the record that `simulate_record` returns."""
    from ecglib.data.synthetic.reports import write_report

    x = yield from _tracing_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes)
    yield
    style = cohort_named(cohort).style
    said = {"events": x.case.events, "disturbance": x.disturbance}
    report = write_report(x.findings, x.features, age=x.case.age, sex=x.case.sex, style=style, rng=x.words, **said)
    labels = findings_to_labels(x.findings)
    return SimulatedRecord(
        x.ecg_mv, report, x.findings, labels, x.features, x.case.age, x.case.sex, x.patient, x.disturbance
    )


def _tracing_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes):
    heart = yield from _heart_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes)
    yield
    n = round(duration_s * sampling_rate_hz)
    ward, order, breath = ward_of(cohort), heart.body.order, (heart.case.resp_hz, heart.case.resp_phase)
    ecg, disturbance = record(
        heart.clean_mv, sampling_rate_hz, n, heart.noise_rngs, ward, heart.level, heart.mains_hz, order, breath
    )
    return Tracing(ecg, heart.case, heart.findings, heart.features, heart.patient, heart.words, disturbance, heart.body)


def _heart_steps(cohort, seed, index, sampling_rate_hz, duration_s, codes):
    plan = cohort_named(cohort)
    _check_numbers(seed, index, sampling_rate_hz, duration_s)
    owner = index - 1 if index % REPEATS == REPEATS - 1 else index
    person_rng = np.random.default_rng(_words(seed, plan.number, owner, 1))
    parent = (seed, plan.number, index, 0)
    rng, settings, low, words = (np.random.default_rng(_words(*parent, child)) for child in range(4))
    high = np.random.SeedSequence(_words(*parent), spawn_key=(4,))
    _check_codes(codes, plan.weights)
    chosen = choose_conditions(plan, rng) if codes is None else completed(codes)
    first = chosen  # what the patient had when the first record was made decides the age of both
    if owner != index and codes is None:
        first = choose_conditions(plan, np.random.default_rng(_words(seed, plan.number, owner, 0, 0)))
    person = sample_person(plan, person_rng, first)
    case = sample_case(person, chosen, rng)
    if owner != index:
        case.age = float(min(case.age + int(rng.integers(0, 4)), 95))
    body = sample_body(rng, case.sex, case.habitus, plan.sloppiness)
    yield
    clean, features, findings = yield from electrode_potentials(case, body, duration_s, sampling_rate_hz, rng)
    mains = float(plan.mains_hz[int(settings.integers(len(plan.mains_hz)))])
    patient = f"sim-{plan.number}-{seed}-{owner}"
    return Heart(clean, case, findings, features, patient, words, (settings, low, high), plan.noise, mains, body)


def _check_numbers(seed, index, sampling_rate_hz, duration_s) -> None:
    whole = all(isinstance(value, int | np.integer) and value >= 0 for value in (seed, index))
    if not (whole and 50 <= sampling_rate_hz <= 2000 and 2 <= duration_s < math.inf):
        raise ParameterError(
            f"a simulated record takes whole numbers seed >= 0, index >= 0, and sampling_rate_hz from 50 to 2000, "
            f"duration_s >= 2; got seed={seed!r}, index={index!r}, sampling_rate_hz={sampling_rate_hz!r}, "
            f"duration_s={duration_s!r}"
        )


def _check_codes(codes, known) -> None:
    if isinstance(codes, str):
        raise ParameterError(f"codes = {codes!r}: give a list, codes=[{codes!r}]")
    if unknown := sorted(set(codes or ()) - known.keys()):
        hints = {"NORM": "codes=[] asks for a healthy record", "SR": "codes=[] asks for a healthy record"}
        hints["LPR"] = 'a long PR interval comes with codes=["1AVB"]'
        hint = "".join(f"; {text}" for text in dict.fromkeys(hints[code] for code in unknown if code in hints))
        raise ParameterError(f"codes {unknown} cannot be asked for{hint}; known are {', '.join(known)}")
    if pair := clashing(set(codes or ())):
        raise ParameterError(f"no tracing shows the codes {' and '.join(pair)} together; ask for one of them")


def _words(*numbers):
    """Entropy for NumPy's seeds: as 32-bit words where all fit, which NumPy takes in a fifth of the time.

    A child of a seed, ``SeedSequence([...]).spawn(n)[k]``, has the words of its parent and then k.
    """
    return np.array(numbers, np.uint32) if min(numbers) >= 0 and max(numbers) < 1 << 32 else numbers
