"""Who lies under the electrodes, and where these were put: signs and sizes of the literature, and closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from ecglib.data.synthetic import generate, population, potentials
from ecglib.data.synthetic.ages import OLDEST, YOUNGEST, age_with
from ecglib.data.synthetic.atria import sinus_p
from ecglib.data.synthetic.body import HEART_CM, average_body, leads_from_electrodes, sample_body
from ecglib.data.synthetic.cohorts import cohort_named
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.noise import ward_of
from ecglib.data.synthetic.patients import sample_case, sample_person
from ecglib.data.synthetic.recorders import recorders
from ecglib.data.synthetic.recording import record
from ecglib.delineate import measure_ecg
from ecglib.signals import LEADS

LEAD = {name: i for i, name in enumerate(LEADS)}


def of_person(person, monkeypatch, n=60):
    """What is measured in ``n`` healthy hearts (n,), alike but for who has them."""
    rows = []
    with monkeypatch.context() as patch:
        patch.setattr(generate, "sample_person", lambda *_: person)
        for index in range(n):
            heart = simulate_heart("ptb-xl", 11, 12 * index, 100, 8.0, ())
            found = measure_ecg(leads_from_electrodes(heart.clean_mv), 100)
            found["limb_mv"] = sum(found[f"r_mv_{lead}"] + found[f"s_mv_{lead}"] for lead in LEADS[:3])
            found["chest_mv"] = sum(found[f"r_mv_{lead}"] + found[f"s_mv_{lead}"] for lead in LEADS[6:])
            rows.append(found)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def more(a, b, name):
    """Median of what ``b`` has more than ``a``, heart by heart."""
    return np.nanmedian(b[name] - a[name])


def times(a, b, name):
    """Median of how many times as large it is in ``b`` as in ``a``, heart by heart."""
    return np.nanmedian(b[name] / a[name])


def test_p_turns_over_where_v1_and_v2_are_too_high():
    """The usual clue (Garcia-Niebla et al. 2009): P, which runs down, is looked at from above."""
    low = average_body()
    chest = low.chest_cm.copy()
    chest[:2, 1] -= 4.0  # two intercostal spaces
    negative = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        case = sample_case(sample_person(cohort_named("ptb-xl"), rng), set(), rng)
        for body in (low, replace(low, chest_cm=chest)):
            p = leads_from_electrodes(sinus_p(case, body, np.random.default_rng(seed)).sample(np.arange(0, 130.0, 2.0)))
            negative.append(p[[LEAD["V1"], LEAD["V2"]]].sum(axis=1) < 0)
    share = np.array(negative).reshape(-1, 2, 2).mean(axis=0)  # (place, lead)
    assert share[0, 1] < 0.1
    assert (share[1] > share[0] + 0.2).all()


def test_age_turns_the_axis_lowers_qrs_and_t_and_lengthens_pr(monkeypatch):
    """Rijnbeek et al. 2014, Mason et al. 2007: from 25 to 80 years the axis turns left by 25 to 45 degrees, PR grows by
    10 to 20 ms, QRS and T lose 5 to 20 %; respiration moves the rate by less than half (Umetani et al. 1998)."""
    young, old = (of_person((age, "M", 0.3), monkeypatch) for age in (25.0, 80.0))
    assert -45 < np.mean(old["axis_deg"] - young["axis_deg"]) < -18
    assert 8 < more(young, old, "pr_ms") < 25
    assert 2 < more(young, old, "qtc_ms") < 25
    assert 0.75 < times(young, old, "limb_mv") < 0.98
    assert 0.75 < times(young, old, "chest_mv") < 0.98
    assert times(young, old, "t_mv_V4") < 0.9
    assert times(young, old, "rr_std_ms") < 0.5


def test_a_large_body_lowers_voltage_and_lays_the_axis_flat(monkeypatch):
    """Frank et al., J Am Coll Cardiol 1986;7:295-299: the heavier, the more the axis lies to the left."""
    thin, obese = (of_person((50.0, "M", habitus), monkeypatch) for habitus in (-1.5, 2.5))
    assert -45 < np.mean(obese["axis_deg"] - thin["axis_deg"]) < -18
    assert np.median(obese["axis_deg"]) > -10
    assert 0.5 < times(thin, obese, "limb_mv") < 0.9
    assert 0.5 < times(thin, obese, "chest_mv") < 0.95
    assert abs(more(thin, obese, "pr_ms")) < 5  # nothing but what the torso does
    assert abs(more(thin, obese, "qtc_ms")) < 5


def test_women_have_a_shorter_qrs_a_longer_qt_and_a_lower_t(monkeypatch):
    """Rautaharju et al., Can J Cardiol 1992;8:690-695; Rijnbeek et al. 2014."""
    men, women = (of_person((40.0, sex, 0.3), monkeypatch) for sex in "MF")
    assert -12 < more(men, women, "qrs_ms") < -2
    assert 3 < more(men, women, "qtc_ms") < 20
    assert times(men, women, "t_mv_V3") < 0.9


def exchanged(e, a, b):
    """The twelve leads ``e`` by closed form once the electrodes ``a`` and ``b`` (of nine) have changed places."""
    one, two, three, avr, avl, avf = e[:6]
    if (a, b) == (0, 1):  # both arms: I upside down, II and III in each other's place, aVR and aVL too
        return np.stack([-one, three, two, avl, avr, avf, *e[6:]])
    if (a, b) == (1, 2):  # left arm and leg
        return np.stack([two, one, -three, avr, avf, avl, *e[6:]])
    rows = np.arange(12)
    rows[[a + 3, b + 3]] = b + 3, a + 3
    return e[rows]


@pytest.mark.parametrize("swap", [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6), (3, 5), (7, 8)])
def test_exchanged_electrodes_exchange_leads(swap, monkeypatch):
    def put(*of):
        order = np.arange(9)
        order[list(swap)] = swap[::-1]
        return replace(sample_body(*of), order=order)

    # Voltage is fitted to criteria of the leads as recorded, so that an exchange scales the QRS of some hearts
    monkeypatch.setattr(potentials, "_size_up", lambda *of: None)
    for index in range(8):
        right = simulate_heart("ptb-xl", 11, 12 * index, 100, 8.0, ())
        with monkeypatch.context() as patch:
            patch.setattr(generate, "sample_body", put)
            wrong = simulate_heart("ptb-xl", 11, 12 * index, 100, 8.0, ())
        expected = exchanged(leads_from_electrodes(right.clean_mv), *swap)
        np.testing.assert_allclose(leads_from_electrodes(wrong.clean_mv), expected, atol=1e-5)
        if swap == (0, 1):  # what is said is true of the tracing, not of the heart behind it
            turned = (180 - right.features["axis_deg"] + 180) % 360 - 180
            assert wrong.features["axis_deg"] == pytest.approx(turned, abs=0.1)


def test_v1_and_v2_are_as_often_too_high_as_a_technician_puts_them():
    """About one in six, by two to three intercostal spaces at most (Wenger and Kligfield 1996 found more)."""
    moved = []
    for seed in range(2500):
        careful, usual = (sample_body(np.random.default_rng(seed), "F", 0.0, sloppy) for sloppy in (0.0, 1.0))
        moved.append((usual.chest_cm - careful.chest_cm)[:, 1])
    up = -np.array(moved)[:, :2]
    assert 0.13 < (up[:, 0] > 0).mean() < 0.19
    np.testing.assert_allclose(up[:, 0], up[:, 1])  # both by the same wrong space
    assert up[up > 0].min() >= 1.0
    assert up.max() <= 3.5


def test_an_electrode_sees_by_the_field_of_a_dipole_where_it_is():
    """The lead vector less the difference of two point-dipole fields, at its place and at the right one."""
    of, right = population.usual(), average_body()
    chest = right.chest_cm.copy()
    chest[:2, 1] -= 3.0
    seen = replace(right, chest_cm=chest).weights(np.hstack([np.eye(3), np.zeros((3, 3))]))[3:]
    before, after = right.chest_cm - HEART_CM, chest - HEART_CM
    for lead in range(6):
        near = of.near * np.linalg.norm(of.chest[lead]) * np.linalg.norm(before[lead]) ** 2
        field = [r[lead] / np.linalg.norm(r[lead]) ** 3 for r in (before, after)]
        np.testing.assert_allclose(seen[lead], of.chest[lead] + near * (field[1] - field[0]), atol=1e-9)
    assert (seen[:2, 1] < of.chest[:2, 1] - 0.03).all()  # higher, so less of what runs down


def test_v1_and_v2_too_high_lose_r(monkeypatch):
    """Garcia-Niebla et al., Rev Esp Cardiol 2009;62:1-3: r in V1 and V2 gets smaller; V3 and beyond stay."""

    def put(rng, sex, habitus, sloppiness, up=3.0):
        body = sample_body(rng, sex, habitus, 0.0)
        chest = body.chest_cm.copy()
        chest[:2, 1] -= up
        return replace(body, chest_cm=chest)

    less, t_mv = [], []
    for index in range(30):
        leads = []
        for up in (0.0, 3.0):
            monkeypatch.setattr(generate, "sample_body", lambda *of, up=up: put(*of, up=up))
            heart = simulate_heart("ptb-xl", 11, 12 * index, 100, 8.0, ())
            leads.append(measure_ecg(leads_from_electrodes(heart.clean_mv), 100))
        t_mv.append(leads[1]["t_mv_V2"] - leads[0]["t_mv_V2"])
        less.append([leads[1][f"r_mv_V{k}"] / max(leads[0][f"r_mv_V{k}"], 0.03) for k in (1, 2, 4)])
    less = np.array(less)
    assert (less[:, :2] < 1.0).mean() > 0.75
    assert np.median(less[:, 1]) < 0.9
    assert abs(np.median(less[:, 2]) - 1) < 0.05
    assert np.mean(np.array(t_mv) < 0) > 0.9  # and of T, since it runs down


def test_a_saturated_lead_stands_at_the_rail_and_no_other_does():
    ward = ward_of("mimic-iv-ecg")
    ward = replace(ward, sizes=replace(ward.sizes, rail=1.0))  # each converter at an end of its range
    own = [LEAD[lead] for lead in ("I", "II", *LEADS[6:])]
    met = 0
    for index in range(110):
        heart = simulate_heart("mimic-iv-ecg", 8, index, 100, 10.0)
        ecg, said = record(heart.clean_mv, 100, 1000, heart.noise_rngs, ward, heart.level, 60.0, heart.body.order)
        top = np.abs(ecg[own]).max(axis=1)
        named = np.array([LEADS[row] in said.saturated for row in own])
        if named.any():
            met += 1
            step = recorders()[said.recorder].lsb_mv
            assert np.ptp(top[named]) <= step
            assert top[~named].max(initial=0.0) <= top[named].min() + 1e-6
            assert 1.5 - step <= top[named].min() <= 4.0 + step
    assert met > 15


def test_what_comes_with_age_is_had_by_the_old_and_no_commoner_for_it():
    plan = cohort_named("ptb-xl")
    ages = {code: [] for code in ("", "AFIB", "CLBBB", "SARRH", "WPW")}
    for code, found in ages.items():
        rng = np.random.default_rng(3)
        found += [age_with({code} - {""}, plan.mean_age, rng) for _ in range(400)]
    mean = {code: np.mean(found) for code, found in ages.items()}
    assert mean["AFIB"] > plan.mean_age + 6 > plan.mean_age > mean[""] + 2
    assert mean["CLBBB"] > mean[""] + 10
    assert max(mean["SARRH"], mean["WPW"]) < plan.mean_age - 4
    assert min(map(min, ages.values())) >= YOUNGEST
    assert max(map(max, ages.values())) <= OLDEST
    # About twice as many with each decade (Go et al. 2001)
    rng = np.random.default_rng(4)
    af, others = (np.array([age_with({code}, 60, rng) for _ in range(4000)]) for code in ("AFIB", "SBRAD"))
    odds = [np.mean(np.abs(af - at) < 5) / np.mean(np.abs(others - at) < 5) for at in (55, 65)]
    assert 1.5 < odds[1] / odds[0] < 2.5


def test_a_patient_keeps_the_age_and_grows_older_by_three_years_at_most():
    hearts = [simulate_heart("ptb-xl", 2, 12 * k + at, 100, 10.0) for k in range(20) for at in (10, 11)]
    for first, second in zip(hearts[::2], hearts[1::2], strict=True):
        assert first.patient == second.patient
        assert 0 <= second.case.age - first.case.age <= 3
