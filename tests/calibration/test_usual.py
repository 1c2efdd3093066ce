"""Known truth for the calibration: what was planted in recordings is found, and an odd file is refused."""

import dataclasses

import numpy as np
import pytest

from ecglib.calibration import files, seen, usual
from ecglib.calibration.__main__ import main
from ecglib.data.synthetic import population, simulate_record
from ecglib.data.synthetic.body import limb_vectors
from ecglib.errors import DataError, ParameterError

RNG = np.random.default_rng(0)
# Chest leads that see the atria otherwise than the ventricles, but for V2
ATRIA = population.usual().chest * np.array([[1.5], [1], [0.3], [0.3], [0.4], [0.5]])
RECOVERY = population.usual().chest * np.array([[0.8], [1], [0.9], [0.7], [0.8], [1.2]])
PLATEAU = population.usual().chest * np.array([[1.2], [1], [1.1], [0.9], [0.7], [0.8]])


def planted_hearts(n: int, field: np.ndarray, fronts: np.ndarray, spread, noise_mv=0.002, *, beyond=0, t_beyond=0):
    """Hearts whose fronts, T and ST are known, seen without body or electrodes in between. ``beyond`` (N, 5, 8): what
    leads show of a front that its dipole does not tell, in parts of the heart's size; ``t_beyond`` (N, 8) of T."""
    rng = np.random.default_rng(1)
    size = np.exp(0.2 * rng.standard_normal(n))
    own = size[:, None] * (fronts + spread * rng.standard_normal((n, fronts.size)))
    moving = np.einsum("sf,nfd->nsd", seen.basis(), own.reshape(n, -1, 3))
    qrs = np.einsum("ad,nsd->nas", field, moving)
    beyond = np.broadcast_to(beyond, (n, 5, 8)) * np.linalg.norm(own, axis=1)[:, None, None]
    qrs += np.einsum("sf,nfa->nas", seen.basis(), beyond)
    t = 0.4 * size[:, None] * (np.array([0.8, 0.3, 0.4]) + 0.1 * rng.standard_normal((n, 3)))
    st = np.array([0.01, 0.0, 0.03]) + 0.01 * rng.standard_normal((n, 3))
    p = np.array([[0.08, 0.06, 0.02], [0.1, 0.05, -0.05]]) + 0.01 * rng.standard_normal((n, 2, 3))
    p[::7] = np.nan  # atria that fibrillate
    deep, t_field, st_field = (np.vstack([field[:2], of]) for of in (ATRIA, RECOVERY, PLATEAU))
    t_leads = t @ t_field.T + np.linalg.norm(t, axis=1, keepdims=True) * t_beyond
    hearts = {"qrs": qrs, "st": st @ st_field.T, "t": t_leads, "p": p @ deep.T}
    noisy = {name: value + noise_mv * rng.standard_normal(value.shape) for name, value in hearts.items()}
    return noisy, own / size[:, None]


def test_fronts_and_lead_vectors_that_were_planted_are_found():
    chest = population.usual().chest
    field = np.vstack([limb_vectors(), chest])
    hearts, own = planted_hearts(400, field, population.usual().fronts, 0.05)
    found = usual.statistics(hearts, chest)
    np.testing.assert_allclose(found["chest"], chest[usual.FITTED_CHEST], atol=0.02)
    assert np.abs(found["beyond"]).max() < 0.01  # there is none
    assert np.sqrt(np.diag(found["front_spread"])[15:]).max() < 0.01
    assert np.sqrt(np.diag(found["recovery_beyond"])).max() < 0.02
    form = own / np.linalg.norm(own, axis=1, keepdims=True)
    # Ridge regression pulls towards zero by a few per cent
    np.testing.assert_allclose(found["fronts"], form.mean(axis=0), atol=0.05)
    assert found["t_size"][0] == pytest.approx(np.log(0.4 * np.linalg.norm([0.8, 0.3, 0.4])), abs=0.1)
    st = found["st"] + found["st_of_t"] * 0.4 * np.array([0.8, 0.3, 0.4])
    np.testing.assert_allclose(st, [0.01, 0, 0.03], atol=0.01)
    np.testing.assert_allclose(found["p"], [[0.08, 0.06, 0.02], [0.1, 0.05, -0.05]], atol=0.003)
    np.testing.assert_allclose(found["p_spread"], 0.01, rtol=0.35)
    np.testing.assert_allclose(found["p_chest"], ATRIA[usual.FITTED_CHEST], atol=0.03)
    np.testing.assert_allclose(found["t_chest"], RECOVERY[usual.FITTED_CHEST], atol=0.03)
    # ST is 10 uV here: noise of 2 uV in the leads that define its dipole would pull its vectors towards zero
    quiet, _ = planted_hearts(400, field, population.usual().fronts, 0.05, noise_mv=0.0005)
    np.testing.assert_allclose(usual.statistics(quiet, chest)["st_chest"], PLATEAU[usual.FITTED_CHEST], atol=0.03)


def test_what_leads_show_beyond_the_dipoles_is_found():
    """V4 shows more of the third front, V3 of the fourth in some hearts: as planted, but for what a dipole can take."""
    chest = population.usual().chest
    field = np.vstack([limb_vectors(), chest])
    planted = np.zeros((400, 5, 8))
    planted[:, 2, 5] = 0.1
    planted[:, 3, 4] = 0.08 * np.random.default_rng(2).standard_normal(400)
    of_t = np.zeros((400, 8))
    of_t[:, 4:6] = 0.15 * np.random.default_rng(3).standard_normal((400, 1))  # V3 and V4 of T, together
    hearts, _ = planted_hearts(400, field, population.usual().fronts, 0.05, beyond=planted, t_beyond=of_t)
    found = usual.statistics(hearts, chest)
    left = np.eye(8) - field @ np.linalg.pinv(field * seen.WEIGHT[:, None]) * seen.WEIGHT
    mean, spread = found["beyond"].reshape(5, 6), np.sqrt(np.diag(found["front_spread"])[15:]).reshape(5, 6)
    np.testing.assert_allclose(mean[2], 0.1 * left[2:, 5], atol=0.015)
    np.testing.assert_allclose(spread[3], 0.08 * np.abs(left[2:, 4]), atol=0.015)
    assert mean[2, 3] > 0.03
    assert spread[3, 2] > 0.03
    of_t, expected = found["recovery_beyond"][:6, :6], np.zeros((6, 6))
    expected[2:4, 2:4] = 0.15**2
    np.testing.assert_allclose(of_t, expected, atol=0.003)


def test_the_ill_are_left_out_of_the_densest_part():
    chest = population.usual().chest
    field = np.vstack([limb_vectors(), chest])
    hearts, _ = planted_hearts(300, field, population.usual().fronts, 0.05)
    ill, _ = planted_hearts(80, field, population.usual().fronts, 0.6)  # each ill in its own way
    both = {name: np.concatenate([hearts[name], ill[name]]) for name in hearts}
    alone, mixed = usual.statistics(hearts, chest), usual.statistics(both, chest)
    np.testing.assert_allclose(mixed["fronts"], alone["fronts"], atol=0.02)
    assert mixed["core"] < 0.85


def test_a_step_goes_where_the_difference_points():
    of = population.usual()
    hearts = seen.hearts((simulate_record("ptb-xl", 5, i, 500.0, codes=()).ecg_mv, 500.0) for i in range(60))
    now = usual.statistics(hearts, of.chest)
    first, of = of, usual.moved(of, now, now)  # its axis has moved a little with the widths since
    np.testing.assert_allclose(of.fronts, first.fronts, atol=1e-3)
    still = usual.moved(of, now, now)
    np.testing.assert_allclose(still.chest, of.chest)
    np.testing.assert_allclose(still.fronts, of.fronts)
    np.testing.assert_allclose(still.beyond, of.beyond)
    np.testing.assert_allclose(still.front_modes.T @ still.front_modes, of.front_modes.T @ of.front_modes, atol=1e-4)
    for modes in ("recovery_modes", "recovery_beyond"):
        was, is_now = getattr(of, modes), getattr(still, modes)
        np.testing.assert_allclose(is_now.T @ is_now, was.T @ was, atol=1e-4)
    turned = now | {"chest": now["chest"] + 0.1, "beyond": now["beyond"] + 0.1}
    seen_anew = usual.lead_vectors_moved(of, turned, now)
    np.testing.assert_allclose(seen_anew.chest[usual.FITTED_CHEST] - of.chest[usual.FITTED_CHEST], 0.1 * usual.STEP)
    np.testing.assert_array_equal(seen_anew.beyond, of.beyond)
    assert (usual.moved(of, turned, now).chest == of.chest).all()
    larger = now | {"size": now["size"] + [0.1, 0.0], "t_size": now["t_size"] + [0.2, 0.0]}
    grown = usual.moved(of, larger, now)
    assert np.linalg.norm(grown.fronts) / np.linalg.norm(of.fronts) == pytest.approx(np.exp(0.1 * usual.STEP))
    assert grown.t_mv / of.t_mv == pytest.approx(np.exp(0.2 * usual.STEP))


def test_modes_reproduce_a_covariance():
    a = RNG.standard_normal((15, 15)) * 0.1
    wanted, modes = a @ a.T, np.zeros((10, 15))
    for _ in range(40):
        modes = usual._matched(modes, wanted, modes.T @ modes, 15)
    np.testing.assert_allclose(modes.T @ modes, wanted, atol=1e-4)


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "population.toml"
    path.write_bytes(population.FILE.read_bytes())
    monkeypatch.setattr(population, "FILE", path)
    files.write_population(population.usual(), source="a test")
    assert 'source = "a test"' in path.read_text(encoding="utf-8")
    files.write_population(population.usual(), matched="another test")
    assert path.read_text(encoding="utf-8").startswith('source = "a test"\nmatched = "another test"\n')
    read = population.load(path)
    for field in dataclasses.fields(population.Population):
        np.testing.assert_allclose(getattr(read, field.name), getattr(population.usual(), field.name), atol=6e-6)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("near =", "nearly =", "near"),
        ("near = ", "near = [1.0, 2.0] #", "near must be"),
        ("t_mv = ", "t_mv = nan #", "t_mv must be finite"),
        ("fronts = [", "fronts = [1.0, ", "fronts must be"),
        ("axis = ", "axis = = ", "cannot be read"),
        ("recovery_modes = [", "recovery_modes = 1.0\nodd = [", "odd"),
        ("axis = [", "axis = [[1.0], ", "population.toml: .*make it"),
        ("recovery_beyond = [\n  [", "recovery_beyond = [\n  [1.0, ", "make it"),
    ],
)
def test_an_odd_file_is_refused_by_name(tmp_path, old, new, says):
    text = population.FILE.read_text(encoding="utf-8")
    assert f"\n{old}" in text
    path = tmp_path / "population.toml"
    path.write_text(text.replace(f"\n{old}", f"\n{new}", 1), encoding="utf-8")
    with pytest.raises(ParameterError, match=says):
        population.load(path)


def test_a_folder_without_recordings_says_so(tmp_path, capsys):
    with pytest.raises(DataError, match="no WFDB record"):
        next(iter(seen.recordings(tmp_path)))
    assert main([str(tmp_path)]) == 2
    assert "name a folder of recordings" in capsys.readouterr().err


def test_each_record_is_read_once(real_data):
    """PTB-XL has every record twice, at 100 Hz as well."""
    folder = real_data("ptbxl_subset")
    whole, fast = (sum(1 for _ in seen.recordings(of)) for of in (folder, folder / "records500"))
    assert whole == fast == 333
    with pytest.raises(DataError, match="of 500 Hz"):
        next(iter(seen.recordings(folder / "records100")))


def test_the_mean_heart_has_the_axis_that_is_planned_most():
    of = population.usual()
    rng = np.random.default_rng(4)
    fronts, modes = of.fronts + 0.1 * rng.standard_normal(of.fronts.size), rng.standard_normal((3, 45))
    for axis_deg in (-30.0, 45.0, 100.0):
        upright, turned = usual._upright(fronts, modes, axis_deg, of.front_width)
        lead_i, lead_ii = limb_vectors() @ (of.front_width @ upright.reshape(-1, 3))
        assert np.degrees(np.arctan2((lead_ii - 0.5 * lead_i) * 2 / 3**0.5, lead_i)) == pytest.approx(axis_deg)
        assert np.linalg.norm(upright) == pytest.approx(np.linalg.norm(fronts))
        np.testing.assert_allclose(turned[:, 15:], modes[:, 15:])  # of the chest
        np.testing.assert_allclose(turned @ np.append(upright, np.zeros(30)), modes @ np.append(fronts, np.zeros(30)))
