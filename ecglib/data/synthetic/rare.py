"""Healthy hearts as few have them: transition far to one side in the chest, an axis far to one side.

The population holds them, with all that goes with it in life, so they are looked for among its hearts, see
`fronts.healthy`, rather than made by turning a common one, which turns septum and late forces to where none has them.
"""

from functools import partial

import numpy as np

from ecglib.data.synthetic.body import Body, leads_from_electrodes
from ecglib.data.synthetic.fronts import HEARTS, PLACES
from ecglib.data.synthetic.population import FRONT_AT, FRONTS, usual

FAR_DEG = 120.0  # degrees of axis that count as much as a wave e times too small or too large
_SEEN_MS = np.arange(6.0, 92.0, 7.0)  # when Q, R and S are looked for, in a QRS of 90 ms
_II, _AVF, _V1, _V2 = 1, 5, 6, 7


def sought(case, body: Body) -> dict:
    """What `fronts.healthy` takes to draw a heart that shows what the case asks for in this body: an empty dictionary
    where it asks for nothing rare."""
    rotation_deg = case.rotation_deg
    if "CR" in case.codes:
        against = partial(_far, _late_transition, body)
        return {"misfit": against, "hearts": 100, "rotation_deg": rotation_deg}  # one in forty has it
    if "CCR" in case.codes:
        against = partial(_far, _early_transition, body)
        return {"misfit": against, "hearts": HEARTS, "rotation_deg": rotation_deg}
    if "LAXIS" in case.codes:
        return {"misfit": partial(_far, _no_transition, body)}
    return {"misfit": _faint} if "RAXIS" in case.codes else {}


def transition_early(body, dipoles, beyond) -> np.ndarray:
    """Degrees (H,) against hearts that show R above S in V2, as few with a far axis do."""
    _, r, s = _q_r_s(_leads(dipoles, beyond, body, [_V2]))
    return FAR_DEG * _above(r[0], 0.7 * s[0])


def _far(against, body, dipoles, beyond) -> np.ndarray:
    return FAR_DEG * against(partial(_leads, dipoles, beyond, body)) + _faint(dipoles, beyond)


def _faint(dipoles, beyond) -> np.ndarray:
    """An axis that hardly is one: early and late forces that cancel in the frontal plane."""
    net = np.linalg.norm(dipoles[:, :, :2].sum(axis=1), axis=1)
    all_of_it = np.linalg.norm(dipoles[:, :, :2], axis=2).sum(axis=1)
    return FAR_DEG * _above(0.45 * all_of_it, net)


def _late_transition(leads) -> np.ndarray:
    """Clockwise rotation: R falls short of S in V2 to V4 and reaches it about V5. There is an R in V2 and V3, and no Q
    in the chest or the lower leads: no scar."""
    waves = leads([_V2, _V2 + 1, _V2 + 2, _V2 + 3, _II, _AVF])
    q, r, s = _q_r_s(waves[:4])
    most = np.array([0.6, 0.36, 0.5, 1.6])[:, None]  # R in parts of S, well within what `features` takes for it
    lower_q, lower_r, _ = _q_r_s(waves[4:])
    small = _above(0.12, r) + _above(q, 0.1)
    return (_above(r, most * s) + small).sum(axis=0) + _above(lower_q, 0.2 * lower_r + 0.05).sum(axis=0)


def _early_transition(leads) -> np.ndarray:
    """Counterclockwise rotation: R exceeds S in V2 already and beyond it, not yet in V1."""
    _, r, s = _q_r_s(leads([_V1, _V2, _V2 + 1, _V2 + 2, _V2 + 3]))
    return (_above(1.6 * s[1:], r[1:])).sum(axis=0) + _above(0.5, r[1]) + _above(r[0], 0.8 * s[0])


def _no_transition(leads) -> np.ndarray:
    """Neither of both: a far axis alone. Half as much against it, as some have both."""
    _, r, s = _q_r_s(leads([_V2, _V2 + 2]))
    return 0.5 * (_above(r[0], 0.7 * s[0]) + _above(1.1 * s[1], r[1]))


def _leads(dipoles, beyond, body, wanted) -> np.ndarray:
    """Leads (L, H, T) in mV, those ``wanted``, of the fronts of H hearts in this body.

    All hearts have their fronts at the same places and times: what a lead shows is one matrix of what is in them.
    """
    unit = np.concatenate([np.tile(np.eye(3), (FRONTS, 1)), np.repeat(PLACES, 3, axis=0)], axis=1)
    seen = np.zeros((9, FRONTS, 9))  # electrode, front, dipole and what each chest electrode has beyond it
    seen[:, :, :3] = body.weights(unit).reshape(9, FRONTS, 3)
    own = np.zeros((9, 6))
    own[np.arange(3, 9), np.arange(6)] = body.chest_gain
    seen[:, :, 3:] = own[body.order][:, None]
    width = 90.0 * usual().front_width[:, None]
    when = np.exp(-0.5 * ((_SEEN_MS - 90.0 * FRONT_AT[:, None]) / width) ** 2)
    of_leads = leads_from_electrodes(seen)[wanted][..., None] * when[:, None]  # (L, FRONTS, 9, T)
    hearts = np.concatenate([dipoles, beyond], axis=2).reshape(len(dipoles), -1)
    of_leads = of_leads.reshape(len(wanted), hearts.shape[1], -1)
    return hearts.astype(np.float32) @ of_leads.astype(np.float32)


def _q_r_s(leads) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is below zero before the peak (L, H), the peak, and what is below zero after it; at least 0.02 mV."""
    after = np.arange(leads.shape[2]) > leads.argmax(axis=2)[:, :, None]
    late = leads * after
    sizes = (leads - late).min(axis=2), np.maximum(leads.max(axis=2), 0), late.min(axis=2)
    q, r, s = np.maximum(np.abs(sizes), 0.02)
    return q, r, s


def _above(value, limit) -> np.ndarray:
    """By how many e-folds ``value`` is above ``limit``, zero below."""
    return np.log(np.maximum(value / np.maximum(limit, 1e-3), 1.0))
