"""Known truth for the moments: planted sizes are moved towards, and nothing else is touched."""

from dataclasses import replace

import numpy as np
import pytest

from ecglib.calibration import files, matched
from ecglib.data.synthetic import noise, population, simulate_record
from ecglib.data.synthetic.noise import ward_of

COHORT, N = matched.COHORT, 60


@pytest.fixture(scope="module")
def usual():
    return matched.Sizes(population.usual(), ward_of(COHORT))


def test_sizes_and_their_logarithms_are_the_same_thing(usual):
    again = usual.at(usual.logarithms())
    for name in matched.OF_HEARTS:
        np.testing.assert_allclose(getattr(again.hearts, name), getattr(usual.hearts, name))
    assert again.ward.shares == usual.ward.shares
    for name in matched.OF_NOISE:
        assert getattr(again.ward.sizes, name) == pytest.approx(getattr(usual.ward.sizes, name))
    doubled = usual.at(usual.logarithms() + np.log(2))
    assert doubled.hearts.slur_mv == matched.AT_MOST["slur_mv"]
    np.testing.assert_allclose(doubled.hearts.local_at, 2 * usual.hearts.local_at)
    assert doubled.ward.sizes.muscle_uv == pytest.approx(2 * usual.ward.sizes.muscle_uv)
    assert doubled.hearts.t_mv == usual.hearts.t_mv


def test_moments_count_standard_errors(usual):
    """Two halves of one cohort differ by about one of them; another noise shows in its own bands."""
    half, other = (matched.simulated(usual, COHORT, *span) for span in ((0, 150), (150, 300)))
    moments = matched.Moments(half)
    assert not moments.off(half).any()
    assert 0.3 < np.sqrt((moments.off(other) ** 2).mean()) < 3
    loud = replace(usual, ward=replace(usual.ward, sizes=replace(usual.ward.sizes, muscle_uv=1.0)))
    quiet, noisy = (matched.simulated(sizes, COHORT, 150, 210) for sizes in (usual, loud))
    assert (moments.off(noisy) ** 2).mean() > 1.5 * (moments.off(quiet) ** 2).mean()


def test_planted_sizes_are_moved_towards(usual, monkeypatch):
    monkeypatch.setattr(matched, "OF_HEARTS", ("t_ms",))
    monkeypatch.setattr(matched, "OF_NOISE", ("muscle_uv",))
    truth = usual.at(usual.logarithms() + np.array([0.25, 0.35]))
    moments = matched.Moments(matched.simulated(truth, COHORT, 0, N))
    found, before, after = matched.step(usual, moments, COHORT, N)
    moved = found.logarithms() - usual.logarithms()
    assert moved == pytest.approx([0.25, 0.35], abs=0.12)
    assert after < 0.3 * before


def test_the_package_is_as_before_after_a_trial(usual):
    ecg = simulate_record("ptb-xl", 1, 1, 100).ecg_mv
    other = replace(usual, hearts=replace(usual.hearts, t_mv=3 * usual.hearts.t_mv))
    small, large = (matched.simulated(sizes, COHORT, 0, 4).filter(like="t_mv_") for sizes in (usual, other))
    assert large.abs().sum().sum() > 1.5 * small.abs().sum().sum()
    np.testing.assert_array_equal(simulate_record("ptb-xl", 1, 1, 100).ecg_mv, ecg)


def test_noise_is_changed_where_it_was_the_same(tmp_path, monkeypatch):
    path = tmp_path / "noise.toml"
    text = noise.TABLE.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(noise, "TABLE", path)
    before = noise.wards(path)
    old = before["ptb-xl"].sizes.jitter_sd
    files.write_noise({"jitter_sd": (old, 0.31)})
    after = noise.wards(path)
    for cohort, ward in before.items():
        assert after[cohort].sizes.jitter_sd == (0.31 if ward.sizes.jitter_sd == old else ward.sizes.jitter_sd)
        assert replace(after[cohort].sizes, jitter_sd=0) == replace(ward.sizes, jitter_sd=0)
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert kept == [line for line in text.splitlines() if line.startswith("#")]


def test_a_folder_without_recordings_says_so(tmp_path, capsys):
    assert matched.main([str(tmp_path)]) == 2
    assert "holds no WFDB record (.hea) of 500 Hz" in capsys.readouterr().err


def test_a_measurement_that_all_lack_moves_nothing(usual):
    table = matched.simulated(usual, COHORT, 0, 40)
    moments = matched.Moments(table.assign(q_mv_V2=0.0))  # in no real record
    assert np.isfinite(moments.off(table.assign(q_mv_V5=0.0))).all()  # in no simulated one
