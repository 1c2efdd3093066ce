"""ResNet-1D and ViT-1D: counts against closed forms, tokens, what a token sees, and what moves when."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.encoders.resnet1d import STAGE_BLOCKS, ResNet1d
from ecglib.encoders.vit1d import DropPath, ViT1d

NARROW = (4, 8, 8, 16)


def count(module):
    return sum(p.numel() for p in module.parameters())


def narrow(depth=18, **changes):
    torch.manual_seed(0)
    return ResNet1d(depth, NARROW, **changes)


def small_vit(**changes):
    torch.manual_seed(0)
    return ViT1d(**({"width": 16, "depth": 2, "heads": 2, "patch": 10, "positions": 20} | changes))


def resnet_parameters(depth, widths=(64, 128, 256, 512), leads=12):
    """He et al. 2016, table 1, in one dimension: convolutions without bias, two numbers per normalised channel."""

    def conv(c_in, c_out, taps):
        return c_in * c_out * taps + 2 * c_out

    total, c_in = conv(leads, widths[0], 7), widths[0]
    for stage, (blocks, c) in enumerate(zip(STAGE_BLOCKS[depth], widths, strict=True)):
        for block in range(blocks):
            if depth < 50:
                c_out = c
                total += conv(c_in, c, 3) + conv(c, c, 3)
            else:
                c_out = 4 * c
                total += conv(c_in, c, 1) + conv(c, c, 3) + conv(c, c_out, 1)
            if block == 0 and (stage > 0 or c_in != c_out):
                total += conv(c_in, c_out, 1)
            c_in = c_out
    return total


@pytest.mark.parametrize("depth", sorted(STAGE_BLOCKS))
def test_resnet_has_the_parameters_of_its_table(depth):
    """The depth in the name counts convolutions on the main path and one linear layer, which is not here."""
    with torch.device("meta"):
        model = ResNet1d(depth)
    assert count(model) == resnet_parameters(depth)
    assert model.width == (512 if depth < 50 else 2048)
    main_path = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Conv1d) and "shortcut" not in name]
    assert len(main_path) + 1 == depth


def test_resnet18_is_the_released_network_without_its_unused_head():
    """MERL's released module has 3,853,962 parameters, of which a ten-class head (512 x 10 + 10) is never used."""
    with torch.device("meta"):
        assert count(ResNet1d(18)) == 3_853_962 - (512 * 10 + 10)


@pytest.mark.parametrize("depth", [18, 34])
def test_initial_weights_are_those_of_recorded_runs(depth):
    """Names and order of drawing of the basic networks: a change here makes recorded runs unrepeatable."""
    torch.manual_seed(0)
    expected, c_in, row = {"stem.0.weight": torch.nn.Conv1d(12, 64, 7, bias=False).weight}, 64, 0
    for stage, (blocks, c) in enumerate(zip(STAGE_BLOCKS[depth], (64, 128, 256, 512), strict=True)):
        for block in range(blocks):
            expected[f"blocks.{row}.conv1.weight"] = torch.nn.Conv1d(c_in, c, 3, bias=False).weight
            expected[f"blocks.{row}.conv2.weight"] = torch.nn.Conv1d(c, c, 3, bias=False).weight
            if stage > 0 and block == 0:
                expected[f"blocks.{row}.shortcut.0.weight"] = torch.nn.Conv1d(c_in, c, 1, bias=False).weight
            c_in, row = c, row + 1
    torch.manual_seed(0)
    found = {name: p for name, p in ResNet1d(depth).named_parameters() if p.ndim == 3}
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


@pytest.mark.parametrize("depth", sorted(STAGE_BLOCKS))
def test_resnet_shapes(depth):
    model = narrow(depth).eval()
    assert model(torch.zeros(1, 12, 5000)).shape == (1, 313, model.width)
    assert model.width == NARROW[-1] * (1 if depth < 50 else 4)


@settings(max_examples=15, deadline=None)
@given(st.integers(min_value=1, max_value=700), st.sampled_from([1, 2, 4]))
def test_resnet_token_count_is_the_rounded_up_quotient(samples, stride):
    model = narrow(stem_stride=stride).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 12, samples)).shape[1] == math.ceil(samples / (8 * stride))


def receptive_field(depth):
    """Samples that one token sees: each convolution of k taps adds (k - 1) times the stride so far."""
    field, jump = 7, 2
    for stage, blocks in enumerate(STAGE_BLOCKS[depth]):
        for block in range(blocks):
            down = 2 if stage > 0 and block == 0 else 1
            field += 2 * jump  # the 3-tap convolution that has the stride; 1-tap convolutions add nothing
            jump *= down
            field += 2 * jump if depth < 50 else 0
    return field


@pytest.mark.parametrize(("depth", "samples"), [(18, 219), (34, 451), (50, 215)])
def test_resnet_token_sees_its_receptive_field_and_no_more(depth, samples):
    assert receptive_field(depth) == samples
    model = narrow(depth).double().eval()
    ecg = torch.randn(4, 12, 1600, dtype=torch.float64, requires_grad=True)
    model(ecg)[:, 50].pow(2).sum().backward()
    seen = ecg.grad.abs().sum(dim=(0, 1)).nonzero().flatten()
    centre, half = 50 * 16, samples // 2
    assert seen.min() >= centre - half
    assert seen.max() <= centre + half
    assert len(seen) > 0.8 * samples  # a rectifier may close the outermost paths


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_shifts_with_its_input(depth):
    """An ECG that starts 16 samples later has the same tokens one place later, away from the edges."""
    model = narrow(depth).double().eval()
    ecg = torch.randn(2, 12, 1600, dtype=torch.float64)
    with torch.inference_mode():
        tokens, shifted = model(ecg), model(ecg.roll(16, dims=-1))
    torch.testing.assert_close(shifted[:, 20:80], tokens[:, 19:79], atol=1e-9, rtol=1e-9)


def vit_parameters(width, depth, mlp, patch, positions, leads=12):
    """Patches with bias, positions, and per block four square matrices, two of the perceptron and two norms."""
    block = 4 * (width * width + width) + (width * mlp + mlp) + (mlp * width + width) + 4 * width
    return leads * patch * width + width + positions * width + depth * block + 2 * width


def test_vit_tiny_has_the_parameters_of_merl():
    """12 leads x 50 samples a patch, 100 tokens, width 192, depth 12, 3 heads, perceptron 768: 5.47 million."""
    with torch.device("meta"):
        model = ViT1d()
    assert count(model) == vit_parameters(192, 12, 768, 50, 100) == 5_473_344
    assert model.width == 192
    assert len(model.blocks) == 12
    assert model.blocks[0].attention.num_heads == 3


def test_vit_arguments_do_what_they_say():
    model = small_vit(width=24, depth=3, heads=4, mlp=30, patch=5, positions=7, n_leads=2)
    assert count(model) == vit_parameters(24, 3, 30, 5, 7, leads=2)
    assert model(torch.zeros(2, 2, 35)).shape == (2, 7, 24)


def test_vit_shapes():
    with torch.inference_mode():
        assert ViT1d().eval()(torch.zeros(1, 12, 5000)).shape == (1, 100, 192)


@settings(max_examples=15, deadline=None)
@given(st.integers(min_value=1, max_value=500))
def test_vit_token_count_is_the_rounded_up_quotient(samples):
    with torch.inference_mode():
        assert small_vit().eval()(torch.zeros(1, 12, samples)).shape[1] == math.ceil(samples / 10)


def test_vit_reads_the_last_incomplete_patch():
    """Zeros behind the end change nothing, and no sample is dropped."""
    model, ecg = small_vit().eval(), torch.randn(1, 12, 95)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(ecg, (0, 5))
        torch.testing.assert_close(model(ecg), model(padded))
        ecg[..., -1] += 1.0
        assert not torch.allclose(model(ecg), model(padded))


def test_vit_positions_keep_their_instant_and_stretch():
    model = small_vit()
    assert torch.equal(model.positions_for(20), model.positions)
    assert torch.equal(model.positions_for(7), model.positions[:7])
    longer = model.positions_for(39)  # halfway points between neighbours
    torch.testing.assert_close(longer[::2], model.positions)
    torch.testing.assert_close(longer[1::2], (model.positions[1:] + model.positions[:-1]) / 2)


def test_vit_knows_order_by_its_positions_alone():
    """Without positions, patches in another order are the same tokens in that order; with them they are not."""
    model, ecg = small_vit().double().eval(), torch.randn(1, 12, 200, dtype=torch.float64)
    with torch.inference_mode():
        moved = ecg.roll(30, dims=-1)
        assert not torch.allclose(model(moved), model(ecg).roll(3, dims=1))
        model.positions.zero_()
        torch.testing.assert_close(model(moved), model(ecg).roll(3, dims=1), atol=1e-9, rtol=1e-9)


def test_vit_block_is_its_equation():
    """Pre-normalised attention and perceptron, written out head by head."""
    block = small_vit().blocks[0].double().eval()
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    attention, y = block.attention, block.norm1(x)
    q, k, v = (y @ attention.in_proj_weight.T + attention.in_proj_bias).split(16, dim=-1)
    heads = []
    for h in range(2):
        s = slice(8 * h, 8 * h + 8)
        heads.append(torch.softmax(q[..., s] @ k[..., s].mT / math.sqrt(8), dim=-1) @ v[..., s])
    x1 = x + attention.out_proj(torch.cat(heads, dim=-1))
    expected = x1 + block.mlp[3](torch.nn.functional.gelu(block.mlp[0](block.norm2(x1))))
    torch.testing.assert_close(block(x), expected, atol=1e-9, rtol=1e-9)


def test_drop_path_leaves_out_whole_records_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    y = drop(x)
    per_record = y.flatten(1)
    assert sorted(per_record.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert torch.equal(per_record.min(1).values, per_record.max(1).values)
    assert y.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(x), x)


def test_drop_path_grows_with_depth():
    rates = [block.drop_path.rate for block in ViT1d(depth=5, drop_path=0.2).blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_vit_refuses_what_cannot_be_divided():
    with pytest.raises(ValueError, match="width 190 is not a multiple of heads 3"):
        ViT1d(width=190)
    with pytest.raises(ValueError, match=r"depths \[18, 34, 50, 101, 152\], not 20"):
        ResNet1d(20)


ENCODERS = {
    "resnet18": lambda: narrow(18),
    "resnet50": lambda: narrow(50),
    "vit": lambda: small_vit(dropout=0.1, drop_path=0.1),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_reach_every_parameter_and_sample(name):
    model = ENCODERS[name]().train()
    ecg = torch.randn(8, 12, 200, requires_grad=True)
    model(ecg).pow(2).sum().backward()
    still = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert (ecg.grad.abs().sum(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_evaluation_moves_nothing_and_does_not_see_the_batch(name):
    """BatchNorm statistics included; in training mode they do move, so the test can fail."""
    model = ENCODERS[name]()
    ecg = torch.randn(6, 12, 200)
    model.train()(ecg)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.eval()
    with torch.inference_mode():
        together, alone = model(ecg), torch.cat([model(row[None]) for row in ecg])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if name.startswith("resnet"):
        model.train()(ecg)
        moved = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
        assert moved
        assert all("running" in key or "num_batches" in key for key in moved)
