"""What carts remark about the recording rather than the heart: electrodes, noise, what is not known of the patient.

A disturbance is any object with ``swapped`` (two electrodes, «RA/LA», or ""), ``noisy``, ``flat`` (names of
leads), ``mains`` and ``wander`` (bool). A remark names a disturbance only where it is; that it goes unsaid is common.
"""

import math
from typing import Protocol

from ecglib.data.synthetic.cart_grammar import grammar
from ecglib.data.synthetic.wording import Draw, Statement
from ecglib.signals import LEADS

P_BANNER, P_COMPARISON = 0.5, 0.003
P_SWAPPED, P_FLAT, P_NOISY, P_MAINS, P_WANDER, P_POOR = 0.5, 0.8, 0.5, 0.25, 0.3, 0.2
_LIMBS = frozenset(("RA", "LA", "LL", "RL"))
_MANY_LEADS = 4


class Disturbance(Protocol):
    """How a recording was disturbed."""

    swapped: str
    noisy: tuple[str, ...]
    flat: tuple[str, ...]
    mains: bool
    wander: bool


def remarks(disturbance: Disturbance | None, age: float | None, sex: str, draw: Draw) -> list[Statement]:
    """Statements that stand before the rhythm, none of them about a finding."""
    book, texts = grammar().remarks, []
    missing = ("" if sex else "_sex") + ("_age" if age is None or not math.isfinite(age) else "")
    if missing and draw() < P_BANNER:
        texts.append(draw.of(book[f"no{missing}"]))
    if disturbance is not None:
        texts += _electrodes(disturbance, draw)
        texts += _quality(disturbance, draw)
    if draw() < P_COMPARISON:
        texts.append(draw.of(book["comparison"]))
    return [Statement((), text) for text in texts]


def _electrodes(disturbance: Disturbance, draw: Draw) -> list[str]:
    """Swapped electrodes: «arms» for RA and LA, «limbs» for other limb electrodes, «sequence» on the chest."""
    book, pair = grammar().remarks, disturbance.swapped.split("/") if disturbance.swapped else []
    if len(pair) != 2 or draw() >= P_SWAPPED:
        return []
    if set(pair) == {"RA", "LA"}:
        return [draw.of(book["arms"])]
    if set(pair) <= _LIMBS:
        return [draw.of(book["limbs"])]
    return [] if set(pair) & _LIMBS else [_of_leads(draw.of(book["sequence"]), pair)]


def _quality(disturbance: Disturbance, draw: Draw) -> list[str]:
    """Leads without signal or with noise, and what runs through all of them; one remark per kind."""
    book, out = grammar().remarks, []
    flat, noisy = disturbance.flat, disturbance.noisy
    if flat and draw() < P_FLAT:
        kinds = ["flat", "unusable", "unusable"]
        kinds += ["faulty"] * 2 if len(flat) == 1 and flat[0].startswith("V") else []
        out.append(_of_leads(draw.of(book[draw.of(kinds)]), flat))
    if noisy and draw() < P_NOISY:
        kind = draw.of(["unusable", "noisy_wander" if disturbance.wander else "noisy"])
        out.append(_of_leads(draw.of(book[kind]), noisy))
    elif disturbance.wander and draw() < P_WANDER:
        out.append(draw.of(book["wander"]))
    if disturbance.mains and draw() < P_MAINS:
        out.append(draw.of(book["mains"]))
    if len({*flat, *noisy}) >= _MANY_LEADS and draw() < P_POOR:
        out.append(draw.of(book["poor"]))
    return out


def _of_leads(text: str, leads) -> str:
    leads = sorted(leads, key=LEADS.index)
    return text.format(spaced=" ".join(leads), commas=",".join(leads), lead=leads[0])
