"""Shortcuts of the simulator give what NumPy's own ways give: seeds, choices, bumps, beats, leads."""

import numpy as np
import pytest

from ecglib.data.synthetic.body import leads_from_electrodes, twelve_leads
from ecglib.data.synthetic.cases import one_of
from ecglib.data.synthetic.generate import _words
from ecglib.data.synthetic.waves import Waves, add_beats, bumps


@pytest.mark.parametrize("parent", [(0, 0, 0, 0), (3, 2, 2**31, 0), (2**32 - 1, 5, 7, 0), (2**40 + 3, 1, 2**33, 0)])
def test_a_child_seed_has_the_words_of_its_parent_and_its_number(parent):
    for number, child in enumerate(np.random.SeedSequence(parent).spawn(5)):
        mine = np.random.SeedSequence(_words(*parent, number))
        assert mine.generate_state(8).tolist() == child.generate_state(8).tolist()
        kept = np.random.SeedSequence(_words(*parent), spawn_key=(number,))
        assert kept.generate_state(8).tolist() == child.generate_state(8).tolist()


def test_a_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        np.random.default_rng(_words(-1, 0, 0, 0))


@pytest.mark.parametrize("chances", [None, [0.08, 0.22, 0.70]])
def test_one_of_draws_as_choice_does(chances):
    options = ["acute", "recent", "old"]
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    mine = [one_of(one, options, chances) for _ in range(500)]
    assert mine == [str(other.choice(options, p=chances)) for _ in range(500)]
    assert one.random() == other.random()


def test_a_bump_has_the_width_of_the_side_it_is_on():
    t = np.linspace(-90, 140, 231)[None]
    shape = np.array([[[20.0, 10.0, 30.0], [0.0, 25.0, 8.0]]])
    away = t[:, None, :] - shape[:, :, :1]
    width = np.where(away < 0, shape[:, :, 1:2], shape[:, :, 2:])
    np.testing.assert_allclose(bumps(shape, t), np.exp(-0.5 * (away / width) ** 2), atol=2e-6)


@pytest.mark.parametrize("blocks", [np.zeros((9, 200), np.float32), np.zeros((200, 9), np.float32).T])
def test_beats_add_up_also_where_they_are_cut_off(blocks):
    rng = np.random.default_rng(0)
    waves = Waves(np.array([[60.0, 20.0, 30.0], [90.0, 9.0, 12.0]]), np.zeros((2, 6)), rng.standard_normal((9, 2)))
    start_s, gain = np.array([-0.1, 0.5, 0.62, 1.95, 7.0]), np.array([1.0, 0.9, 1.1, 0.8, 1.0])
    add_beats(blocks, 100, waves, start_s, gain)
    t_ms = np.arange(200) * 10.0
    whole = sum(g * waves.sample(t_ms - 1000 * s) for s, g in zip(start_s, gain, strict=True))
    np.testing.assert_allclose(blocks, whole, atol=0.02)  # a bump ends at 3.3 widths, at 0.4 % of its height


@pytest.mark.parametrize("shape", [(9,), (9, 5), (9, 2, 3)])
def test_twelve_leads_of_nine_electrodes(shape):
    v = np.random.default_rng(1).standard_normal(shape)
    ra, la, ll = v[:3]
    eight = np.stack([la - ra, ll - ra, *(v[3:] - (ra + la + ll) / 3)])
    np.testing.assert_allclose(leads_from_electrodes(v), twelve_leads(eight), atol=1e-12)
    one, two = eight[:2]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    np.testing.assert_allclose(twelve_leads(eight), np.stack([*limb, *eight[2:]]), atol=1e-12)
