"""Figures and tables: geometry that a cardiologist could measure, files that do not change, texts that are right."""

import io

import numpy as np
import pandas as pd
import pytest

from ecglib import figures, results
from ecglib.ecg_paper import LEFT_MM
from ecglib.errors import SignalError
from ecglib.signals import LEADS


@pytest.fixture(autouse=True)
def style():
    figures.use_style()


def spikes(hz: float, seconds: float = 10.0) -> np.ndarray:
    """1 mV for 40 ms at every whole second, in lead II and V2; elsewhere zero."""
    ecg = np.zeros((12, round(hz * seconds)))
    for lead in ("II", "V2"):
        for second in range(1, int(seconds)):
            start = round(second * hz)
            ecg[LEADS.index(lead), start : start + round(0.04 * hz)] = 1.0
    return ecg


def traces(fig):
    """The drawn strips as (x, y) in mm: dark lines of many points."""
    return [line.get_xydata() for line in fig.axes[0].lines if line.get_zorder() == 3 and len(line.get_xdata()) > 10]


@pytest.mark.parametrize("hz", [100, 500])
def test_speed_and_gain_are_true(hz):
    fig = figures.plot_ecg(spikes(hz), hz)
    rhythm = traces(fig)[-1]
    baseline = np.median(rhythm[:, 1])
    up = rhythm[rhythm[:, 1] > baseline + 5]
    assert np.allclose(up[:, 1] - baseline, 10.0)  # 1 mV is 10 mm
    beats = up[np.r_[True, np.diff(up[:, 0]) > 5], 0]
    assert np.allclose(beats, LEFT_MM + 25.0 * np.arange(1, 10))  # one second is 25 mm
    width, height = fig.get_size_inches() * 25.4  # and a unit of the axes is one millimetre of the figure
    assert fig.axes[0].get_xlim() == pytest.approx((0, width))
    assert fig.axes[0].get_ylim() == pytest.approx((0, height))
    assert fig.axes[0].get_position().bounds == (0, 0, 1, 1)


def test_columns_follow_each_other_in_time():
    ecg = spikes(500)
    fig = figures.plot_ecg(ecg, 500)
    strips = traces(fig)
    assert len(strips) == 13
    v2 = strips[6]  # second row, third column: 5.0 to 7.5 s
    assert v2[0, 0] == pytest.approx(LEFT_MM + 5.0 * 25)
    baseline = np.median(v2[:, 1])
    up = v2[v2[:, 1] > baseline + 5, 0]
    assert (up.min() - LEFT_MM) / 25 == pytest.approx(5.0)
    assert (up.max() - LEFT_MM) / 25 == pytest.approx(7.038)


def test_baselines_lie_on_bold_lines_and_the_pulse_is_one_millivolt():
    fig = figures.plot_ecg(spikes(500), 500)
    for strip in traces(fig):
        assert np.median(strip[:, 1]) % 5 == pytest.approx(0)
    pulses = [line.get_xydata() for line in fig.axes[0].lines if len(line.get_xdata()) == 6]
    assert len(pulses) == 4
    assert all(np.ptp(p[:, 1]) == 10 and np.ptp(p[p[:, 1] > p[0, 1], 0]) == 5 for p in pulses)


def test_every_lead_is_named_and_the_caption_tells_the_scale():
    for layout, names in (("3x4+rhythm", [*LEADS, "II"]), ("12x1", list(LEADS))):
        texts = [t.get_text() for t in figures.plot_ecg(spikes(100), 100, layout=layout).axes[0].texts]
        assert sorted(t for t in texts if t in LEADS) == sorted(names)
        assert any("25 mm/s" in t and "10 mm/mV" in t and "100 Hz" in t for t in texts)


def test_long_short_and_loud_records():
    long = figures.plot_ecg(spikes(500, 60), 500)
    assert any("first 10 of 60 s" in t.get_text() for t in long.axes[0].texts)
    short = figures.plot_ecg(spikes(500, 6), 500)
    assert short.get_size_inches()[0] < long.get_size_inches()[0]
    loud = figures.plot_ecg(spikes(500) * 8, 500, report="word " * 80, title="x")
    assert loud.get_size_inches()[1] * 25.4 < 300


@pytest.mark.parametrize(
    ("ecg", "kwargs", "message"),
    [
        (np.zeros((8, 1000)), {}, "(8, 1000)"),
        (np.full((12, 1000), np.nan), {}, "finite"),
        (np.zeros((12, 1000)), {"layout": "6x2"}, "6x2"),
    ],
)
def test_bad_ecg_is_refused(ecg, kwargs, message):
    with pytest.raises(SignalError) as caught:
        figures.plot_ecg(ecg, 100, **kwargs)
    assert message in str(caught.value)


def test_a_real_record(real_data):
    wfdb = pytest.importorskip("wfdb")
    record = sorted((real_data("ptbxl_subset") / "records500").rglob("*.hea"))[0].with_suffix("")
    signal, fields = wfdb.rdsamp(str(record))
    png = figures.png_bytes(figures.plot_ecg(signal.T, fields["fs"], report="sinus rhythm"))
    assert 20_000 < len(png) < 250_000


def test_files_are_reproducible():
    def svg():
        buffer = io.BytesIO()
        figures.plot_ecg(spikes(100), 100).savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    assert svg() == svg()
    assert figures.png_bytes(figures.plot_ecg(spikes(100), 100)) == figures.png_bytes(
        figures.plot_ecg(spikes(100), 100)
    )


def test_one_colour_per_paper_and_grey_for_the_rest():
    assert len(set(figures.COLORS.values())) == len(figures.COLORS) == 6
    assert figures.color_of("DERI-Align") == figures.color_of("deri") == figures.COLORS["deri"]
    assert figures.color_of("FG-CLEP") == figures.COLORS["fg_clep"]
    assert figures.color_of("K-MERL") == figures.COLORS["k_merl"]
    assert {figures.color_of(name) for name in ("chance", "random-encoder", "SimCLR")} == {figures.GREY}


def test_a_further_method_has_a_colour_of_its_own(monkeypatch):
    """One of few, chosen by its name alone: which other methods there are does not change it."""
    assert len({*figures.FURTHER, *figures.COLORS.values(), figures.GREY}) == len(figures.FURTHER) + 7
    six = list(figures.COLORS)
    monkeypatch.setattr("ecglib.papers.stems", lambda: [*six, "seventh"])
    color = figures.color_of("seventh")
    assert color in figures.FURTHER
    assert figures.color_of("SEVENTH-align") == color
    monkeypatch.setattr("ecglib.papers.stems", lambda: ["eighth", "ninth", "seventh", *six])
    assert figures.color_of("seventh") == color
    assert {figures.color_of(name) for name in six} == set(figures.COLORS.values())
    assert figures.color_of("tenth") == figures.GREY


def test_training_curves_one_panel_per_term():
    history = [
        {"epoch": i, "step": i, "lr": 1.0, "seconds": 2.0, "align": 4.0 - i, "total": 9.0 - i} for i in (1, 2, 3)
    ]
    fig = figures.training_curves(history, labels={"align": "aligned"}, reference={"align": 4.8})
    assert [ax.get_title(loc="left") for ax in fig.axes if ax.get_visible()] == ["total", "aligned"]
    assert list(fig.axes[1].lines[0].get_ydata()) == [3, 2, 1]
    figures.training_curves(history[:1]).savefig(io.BytesIO())


def scores(method="deri", **per_dataset):
    return [
        {"method": method, "dataset": d.replace("_", "-"), "setting": "zero-shot", "value": v, "ci_low": v - 1,
         "ci_high": v + 2, "metric": "macro_auc"} for d, v in per_dataset.items()
    ]  # fmt: skip


SIX = {"ptbxl_super": 70.0, "ptbxl_sub": 71.0, "ptbxl_form": 72.0, "ptbxl_rhythm": 73.0, "cpsc2018": 74.0, "csn": 75.06}


def test_score_frame():
    rows = pd.DataFrame(scores("chance", **SIX) + scores("deri", **SIX))
    frame = figures.score_frame(rows)
    assert list(frame.columns) == ["method", "PTB-XL Super", "PTB-XL Sub", "PTB-XL Form", "PTB-XL Rhythm", "CPSC2018",
                                   "CSN", "Average"]  # fmt: skip
    assert frame["method"].tolist() == ["DERI", "chance"]
    assert frame.loc[0, "CSN"] == "75.1 (74.1–77.1)"
    assert frame.loc[0, "Average"] == "72.5"
    with pytest.raises(ValueError, match="two scores"):
        figures.score_frame(pd.concat([rows, rows]))


def test_score_table_is_stable_html_without_index():
    rows = pd.DataFrame(scores(csn=75.0))
    html = figures.score_table(rows, caption="Zero-shot").to_html()
    assert html == figures.score_table(rows, caption="Zero-shot").to_html()
    assert "<caption>Zero-shot</caption>" in html
    assert "row_heading" not in html
    assert "74.0–77.0</span>" in html


def comparison(tmp_path):
    printed = results.reported("deri")
    printed = printed[(printed.exhibit == "table-1") & printed.method.isin(["DERI", "MERL"])]
    return results.compare(printed[printed.setting == "linear-probe 1%"], results.read_runs(tmp_path))


def test_comparison_before_and_after_a_run(tmp_path):
    table = comparison(tmp_path)
    figures.reported_vs_reproduced(table).savefig(io.BytesIO())
    frame = figures.score_frame(table)
    assert list(frame.columns) == ["method", "data set", "printed", "here", "verdict"]
    assert set(frame["verdict"]) == {"not run"}
    table.loc[table.method == "DERI", ["run_value", "ci_low", "ci_high", "verdict", "why"]] = [
        70.0, 68.0, 72.0, "not comparable", "simulated ECGs"]  # fmt: skip
    fig = figures.reported_vs_reproduced(table)
    filled = [line for line in fig.axes[0].lines if line.get_marker() == "D"]
    hollow = [line for line in fig.axes[0].lines if line.get_marker() == "o"]
    assert (len(filled), len(hollow)) == (6, 12)
    assert {line.get_alpha() for line in filled} == {0.45}
    assert any("simulated" in t.get_text() for t in fig.legends[0].get_texts())
    assert "not comparable: simulated ECGs" in figures.score_table(table).to_html()


def test_auc_bars_with_an_unscored_class():
    table = pd.DataFrame({"class": ["A", "B", "C"], "auc": [80.0, np.nan, 45.0], "ci_low": [75.0, np.nan, np.nan],
                          "ci_high": [85.0, np.nan, np.nan], "positives": [1200, 0, 7]})  # fmt: skip
    ax = figures.auc_bars(table).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "C", "B"]
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(50, 30), (50, -5)]
    assert {"not scored", "1,200"} <= {t.get_text() for t in ax.texts}


def test_a_table_is_set_out():
    """Intervals below their values, words to the left, floats rounded; the same content has the same html."""
    from ecglib.tables import set_out

    frame = pd.DataFrame({"what": ["a (b)"], "AUC": ["85.8 (82.8 to 88.4)"], "share": [0.25], "n": [3]})
    html = set_out(frame, ["what"]).to_html()
    assert all(part in html for part in ("a (b)", "85.8<br>", "82.8 to 88.4</span>", ">0.2<", ">3<"))
    assert "(82.8" not in html
    assert html == set_out(frame.copy(), ["what"]).to_html()
    assert html != set_out(frame.assign(n=4), ["what"]).to_html()
