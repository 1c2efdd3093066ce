"""How alike two leads are: the same heart from two places, and what each electrode has for itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from ecglib.calibration import files
from ecglib.data.synthetic import population
from ecglib.data.synthetic.body import NEIGHBOURS, average_body, leads_from_electrodes, neighbours, sample_body
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.noise import TOGETHER_HZ, electrode_noise, ward_of
from ecglib.data.synthetic.patients import sample_case
from ecglib.data.synthetic.population import FRONTS
from ecglib.data.synthetic.repolarisation import ST_KEPT, recover
from ecglib.data.synthetic.ventricles import conducted
from ecglib.signals import LEADS

HZ, TOTAL = 500, 6250
V1, V2, V3, V4, V5, V6 = range(3, 9)  # among the nine electrodes


def noises(n: int = 40):
    sizes = replace(ward_of("ptb-xl").sizes, burst=0.0, step=0.0, tremor=0.0)
    for seed in range(n):
        rng, low = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        yield electrode_noise(rng, low, np.random.SeedSequence(seed), TOTAL, HZ, sizes, 1.0, 50.0)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b).real / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real))


def test_neighbours_are_as_alike_as_asked():
    together = neighbours(0.9, 0.5, 0.8, 0.7, 0.6)
    matrix = together @ together.T
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(np.diag(matrix, 1), [0.9, 0.5, 0.8, 0.7, 0.6])
    assert matrix[0, 2] == pytest.approx(0.9 * 0.5)


def test_wander_is_shared_by_neighbours_and_muscle_is_not():
    slow, fast = np.zeros((9, 9)), np.zeros((9, 9))
    for noise in noises():
        few = round(TOGETHER_HZ * TOTAL / HZ)
        slow += np.array([[alike(a[1:few], b[1:few]) for b in noise.slow] for a in noise.slow])
        fast += np.array([[alike(a, b) for b in noise.fast_mv] for a in noise.fast_mv])
    slow, fast = slow / 40, fast / 40
    assert slow[V3, V4] == pytest.approx(0.5, abs=0.15)
    assert abs(slow[V1, V6]) < 0.15
    assert np.abs(fast[V1:, V1:] - np.eye(6)).max() < 0.05


def test_gains_of_neighbours_go_together():
    gains = np.log([sample_body(np.random.default_rng(i), "M", 0.0, 0.0).chest_gain for i in range(800)])
    np.testing.assert_allclose(gains.std(axis=0), population.usual().chest_spread, rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(gains.T), NEIGHBOURS @ NEIGHBOURS.T, atol=0.1)


def test_fine_structure_of_a_qrs_is_more_of_each_electrode_than_its_waves_are():
    """Power above 50 Hz of V3 and V6, from heart to heart, goes together less than that below 20 Hz."""
    fast, slow = [], []
    for i in range(80):
        heart = simulate_heart("ptb-xl", 3, i, HZ, 10.0, codes=())
        leads = leads_from_electrodes(heart.clean_mv)[[LEADS.index("V3"), LEADS.index("V6")]].astype(float)
        size = np.log(leads.std(axis=1)).mean()
        for kept, band in ((fast, (52, 100)), (slow, (5, 20))):
            part = sosfiltfilt(butter(3, band, "band", fs=HZ, output="sos"), leads, axis=1)
            kept.append(np.log(part.std(axis=1)) - size)
    assert np.std(fast) > 0.15  # and hearts differ in it
    assert np.corrcoef(np.array(fast).T)[0, 1] < 0.8


@pytest.mark.parametrize("swapped", [False, True])
def test_each_electrode_sees_of_a_healthy_front_what_the_population_says(swapped):
    """Lead vectors tell the rest; an electrode on the wrong place takes with it what it would have seen there."""
    beyond_mv = 0.1 * np.random.default_rng(3).standard_normal((FRONTS, 6))
    of = replace(population.usual(), beyond=beyond_mv.ravel(), front_modes=np.zeros((1, 9 * FRONTS)))
    drawn_mv = np.linalg.norm(of.fronts.reshape(FRONTS, 3), axis=1)
    order = np.arange(9)
    if swapped:
        order[[V1, V4]] = order[[V4, V1]]
    population.put(of)
    files.forget()
    try:
        gain, rng = np.array([1.2, 0.9, 1.0, 0.8, 1.1, 0.7]), np.random.default_rng(5)
        body = replace(average_body(), order=order, chest_gain=gain)
        for codes in (set(), {"ALMI"}):  # which takes some of the fronts
            case = replace(sample_case((50.0, "M", 0.0), codes, rng), scar=1.0, axis_deg=20.0)
            waves = conducted(case, body, rng).waves
            fronts = waves.sources[:FRONTS]
            left = np.linalg.norm(fronts[:, :3], axis=1) / drawn_mv
            assert ((left / case.voltage).min() < 0.8) == bool(codes)
            seen = (waves.weights[:, :FRONTS] - body.weights(fronts))[3:]
            np.testing.assert_allclose(seen[order[3:] - 3], gain[:, None] * (left[:, None] * beyond_mv).T, atol=1e-9)
    finally:
        population.put(None)
        files.forget()


@pytest.mark.parametrize("swapped", [False, True])
def test_recovery_is_seen_by_its_own_lead_vectors(swapped):
    """In an average torso T is its dipole through ``t_chest`` and what this heart shows beyond; ST likewise."""
    of = population.usual()
    order = np.arange(9)
    if swapped:
        order[[V1, V4]] = order[[V4, V1]]
    body, rng = replace(average_body(), order=order), np.random.default_rng(5)
    case = sample_case((50.0, "M", 0.0), set(), rng)
    case.u_mv, case.qrs_ms = 0.0, 90.0
    case.t_beyond, case.st_beyond_mv = 0.2 * rng.standard_normal(6), np.zeros(6)
    case.st_vector = np.zeros(3)
    with_t = recovered(case, body)
    t = with_t[:, np.abs(with_t[LEADS.index("V2")]).argmax()]
    seen = (of.t_chest @ case.t_vector + np.linalg.norm(case.t_vector) * case.t_beyond)[order[3:] - 3]
    scale = float(t[6:] @ seen / (seen @ seen))  # what rises early in T is a part of it
    np.testing.assert_allclose(t[6:], scale * seen, atol=0.02 * np.abs(seen).max())
    assert 0.9 < scale < 1.25
    by_qrs = of.chest @ case.t_vector
    assert np.abs(t[6:] - scale * by_qrs).max() > 0.1 * np.abs(seen).max()

    by_dipole = recovered(replace(case, st_vector=np.array([0.0, 0.02, 0.03])), body) - with_t
    largest = by_dipole[:, np.abs(by_dipole).max(axis=0).argmax()]
    direction = (of.st_chest @ [0.0, 0.02, 0.03])[order[3:] - 3]
    np.testing.assert_allclose(largest[6:] / largest[6], direction / direction[0], rtol=1e-4)

    more = np.array([0.05, 0.0, -0.03, 0.02, 0.0, 0.04])
    raised = recovered(replace(case, st_beyond_mv=more), body) - with_t
    largest = raised[6:, np.abs(raised).max(axis=0).argmax()]
    factor = np.abs(largest).max() / 0.05
    np.testing.assert_allclose(largest, factor * more[order[3:] - 3], rtol=1e-4, atol=1e-6)
    assert 1.0 < factor < 1.0 + ST_KEPT  # at J, and a part of what comes later


def recovered(case, body) -> np.ndarray:
    """ST and T (12, n) of a case, every 2 ms; the same draws each time."""
    rng = np.random.default_rng(6)
    waves, _ = recover(case, conducted(case, body, rng), body, rng, 390.0)
    return leads_from_electrodes(waves.sample(np.arange(0.0, 500.0, 2.0)))
