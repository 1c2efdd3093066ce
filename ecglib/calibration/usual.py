"""What is usual in adults, fitted by indirect inference: the same statistics of real and of simulated recordings.

A statistic of real recordings differs from the same one of simulated recordings; the parameter behind it is moved by
that difference, several times (Gourieroux, Monfort, Renault 1993). What the way of measuring distorts, it distorts in
both. Real recordings are ill and healthy and stay so: statistics are those of their densest part (minimum covariance
determinant, Rousseeuw 1984), found without a diagnosis.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import chi2
from sklearn.covariance import MinCovDet

from ecglib.calibration import seen
from ecglib.data.synthetic.body import limb_potentials, limb_vectors
from ecglib.data.synthetic.fronts import turn_to, turned
from ecglib.data.synthetic.population import FRONTS, Population

MODES = 20  # of the QRS; the rest of its variance is left to body and electrodes
FITTED_CHEST = [0, 2, 3, 4, 5]  # V2 gives the scale of z and stays as published
CORE = 0.6  # part of the records that the densest part is searched in
# Spreads stop here: healthy hearts are cut off at the limits of normal, which a wider spread would not undo
MOST = {"axis": 36.0, "voltage": 0.28, "t": 0.30}
STEP = 0.8  # of each difference, so that parameters that share a statistic do not overshoot


def statistics(hearts: dict[str, np.ndarray], chest: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of the densest part of ``hearts`` (see ``seen.hearts``); ``chest`` (6, 3) lead vectors.

    By the name of the field of `Population` that each moves, but for the covariances ``front_spread`` (45, 45),
    ``recovery_spread`` (6, 6) and ``recovery_beyond`` (12, 12) of modes, ``size`` and ``t_size``, mean and spread of a
    logarithm, and ``core``, the share of hearts that the densest part holds.
    """
    field = np.vstack([limb_vectors(), chest])
    # Of P, ST and T three leads define the dipole. P is small and no other shows it well: a fit to all would trade II
    # for the noise of the chest; recovery is seen by lead vectors of its own
    anchors = np.linalg.inv(field[seen.ANCHORS]).T
    fronts, beyond = seen.fronts(hearts["qrs"], field)
    size = np.linalg.norm(fronts, axis=1)
    t, st = (hearts[name][:, seen.ANCHORS] @ anchors for name in ("t", "st"))
    together = np.hstack([fronts / size[:, None], t / size[:, None] ** 0.4, st, np.log(size)[:, None]])
    found = MinCovDet(support_fraction=CORE, random_state=0).fit(together)
    core = found.dist_ <= chi2.ppf(0.975, together.shape[1])
    hearts, size = {name: waves[core] for name, waves in hearts.items()}, size[core]
    form = fronts[core] / size[:, None]
    return {
        "core": np.array(core.mean()),
        "size": np.array([np.log(size).mean(), np.log(size).std()]),
        **_of_qrs(hearts["qrs"] / size[:, None, None], form, beyond[core] / size[:, None], anchors),
        **_of_recovery(hearts["t"], t[core], hearts["st"], st[core], _axis(form)),
        **_of_p(hearts["p"], anchors),
    }


def _of_qrs(qrs, form, beyond, anchors) -> dict[str, np.ndarray]:
    moving = np.einsum("nas,ad->nsd", qrs[:, seen.ANCHORS], anchors).reshape(-1, 3)
    chest_leads = qrs[:, 2:][:, FITTED_CHEST].transpose(0, 2, 1).reshape(len(moving), -1)
    axis = _axis(form)
    return {
        "chest": np.linalg.lstsq(moving, chest_leads, rcond=None)[0].T,
        "fronts": form.mean(axis=0),
        "beyond": beyond.mean(axis=0),
        "front_spread": np.cov(np.hstack([form, beyond]).T),
        "axis": np.array([np.median(axis), axis.std()]),
    }


def _axis(form) -> np.ndarray:
    """(N, 15) -> (N,) degrees."""
    lead_i, lead_ii = limb_vectors() @ form.reshape(-1, FRONTS, 3).sum(axis=1).T
    return np.degrees(np.arctan2((lead_ii - 0.5 * lead_i) * 2 / np.sqrt(3), lead_i))


def _of_recovery(t_leads, t, st_leads, st, axis) -> dict[str, np.ndarray]:
    """Leads (N, 8) and dipoles (N, 3) of T and ST."""
    (t_chest, t_beyond), (st_chest, st_beyond) = _through(t, t_leads[:, 2:]), _through(st, st_leads[:, 2:])
    size = np.linalg.norm(t, axis=1)
    by_axis = np.column_stack([np.ones(len(axis)), (axis - 30) / 40])
    form = np.hstack([t, t_beyond]) / size[:, None]
    on_axis = np.linalg.lstsq(by_axis, form, rcond=None)[0]
    t_rest = form - by_axis @ on_axis
    st_of_t = float((st * t).sum() / (t * t).sum())
    st_rest = st - st_of_t * t
    return {
        "t_vector": on_axis[0, :3],
        "t_by_axis": on_axis[1],
        "t_size": np.array([np.log(size).mean(), np.log(size).std()]),
        "t_chest": t_chest[FITTED_CHEST],
        "st_chest": st_chest[FITTED_CHEST],
        "st": st_rest.mean(axis=0),
        "st_of_t": np.array(st_of_t),
        "recovery_spread": np.cov(np.hstack([t_rest[:, :3], st_rest]).T),
        "recovery_beyond": np.cov(np.hstack([t_rest[:, 3:], st_beyond]).T),
    }


def _through(dipoles, leads) -> tuple[np.ndarray, np.ndarray]:
    """Lead vectors (L, 3) by least squares, and what the leads (N, L) show beyond them."""
    field = np.linalg.lstsq(dipoles, leads, rcond=None)[0].T
    return field, leads - dipoles @ field.T


def _of_p(leads, anchors) -> dict[str, np.ndarray]:
    p = leads[..., seen.ANCHORS] @ anchors  # (N, 2, 3)
    there = np.isfinite(p).all(axis=(1, 2))
    p, chest_leads = p[there], leads[there].reshape(-1, 8)[:, 2:]
    return {
        "p": np.median(p, axis=0),
        "p_chest": _through(p.reshape(-1, 3), chest_leads)[0][FITTED_CHEST],
        "p_spread": 0.741 * (np.percentile(p, 75, axis=0) - np.percentile(p, 25, axis=0)),
    }


def lead_vectors_moved(of: Population, real: dict, simulated: dict) -> Population:
    """The population after one step of the lead vectors of V1-V6 alone.

    What V1-V6 show beyond a dipole can stand in for another lead vector, so both cannot move in one step. Dipoles of
    scars and injuries in `ecglib.data.synthetic.territories` were chosen as these lead vectors see them.
    """
    return replace(of, chest=_seen(of, "chest", real, simulated))


def _seen(of: Population, name: str, real: dict, simulated: dict) -> np.ndarray:
    field = getattr(of, name).copy()
    field[FITTED_CHEST] += STEP * (real[name] - simulated[name])
    return field


def moved(of: Population, real: dict, simulated: dict) -> Population:
    """The population after one step of all that has a statistic, but for the lead vectors of the QRS."""
    d = {name: STEP * (real[name] - simulated[name]) for name in real}
    scale = float(np.exp(d["size"][0]))
    norm = np.linalg.norm(of.fronts)
    form = of.fronts / norm + d["fronts"]
    t_vector = of.t_vector + d["t_vector"]
    axis_deg = of.axis[0] + d["axis"][0]
    modes = _matched(of.front_modes, real["front_spread"], simulated["front_spread"], MODES, norm, scale)
    form, modes = _upright(form, modes, axis_deg, of.front_width)
    return replace(
        of,
        **{name: _seen(of, name, real, simulated) for name in ("t_chest", "st_chest", "p_chest")},
        fronts=form / np.linalg.norm(form) * norm * scale,
        beyond=(of.beyond / norm + d["beyond"]) * norm * scale,
        front_modes=modes,
        axis=np.array([axis_deg, _spread(of.axis[1], real["axis"], simulated["axis"], "axis")]),
        voltage_spread=_spread(of.voltage_spread, real["size"], simulated["size"], "voltage"),
        t_vector=t_vector,
        t_by_axis=of.t_by_axis + d["t_by_axis"],
        t_mv=of.t_mv * float(np.exp(d["t_size"][0])),
        t_spread=_spread(of.t_spread, real["t_size"], simulated["t_size"], "t"),
        st_mv=of.st_mv + d["st"],
        st_of_t=of.st_of_t + float(d["st_of_t"]),
        p_mv=of.p_mv + d["p"],
        p_spread_mv=np.clip(of.p_spread_mv * (real["p_spread"] / simulated["p_spread"]) ** STEP, 0.004, 0.05),
        recovery_modes=_matched(of.recovery_modes, real["recovery_spread"], simulated["recovery_spread"], 6),
        recovery_beyond=_matched(of.recovery_beyond, real["recovery_beyond"], simulated["recovery_beyond"], 12),
    )


def _upright(fronts, modes, axis_deg: float, widths) -> tuple[np.ndarray, np.ndarray]:
    """The mean heart (15,) and its modes (M, 45), turned so that the axis of the mean heart is the one most planned.

    Hearts are chosen by their axis. A population that lies elsewhere would be seen by its far ends alone, and where it
    lies could not be told from what is seen.
    """
    area = widths @ fronts.reshape(FRONTS, 3)
    angle_deg = float(turn_to(axis_deg, limb_potentials(limb_vectors()), area))
    rows = np.vstack([fronts, modes[:, : 3 * FRONTS]]).reshape(-1, FRONTS, 3)
    rows = turned(rows, angle_deg).reshape(-1, 3 * FRONTS)
    return rows[0], np.hstack([rows[1:], modes[:, 3 * FRONTS :]])


def _spread(own: float, real: np.ndarray, simulated: np.ndarray, name: str) -> float:
    """A spread after one step; each statistic is (middle, spread)."""
    return min(float(own * (real[1] / simulated[1]) ** STEP), MOST[name])


def _matched(modes, real, simulated, n, norm=1.0, scale=1.0) -> np.ndarray:
    """Modes (n, D) whose covariance is moved from the simulated towards the real one."""
    own = modes.T @ modes / norm**2
    target = own + STEP * (real - simulated)
    values, vectors = np.linalg.eigh(0.5 * (target + target.T))
    kept = np.argsort(values)[::-1][:n]
    signs = np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))] < 0, -1.0, 1.0)
    return (np.sqrt(np.maximum(values[kept], 1e-6)) * vectors[:, kept] * signs[kept]).T * norm * scale
