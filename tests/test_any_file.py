"""One record from a file of any form: written ones with a known truth, and every real file at hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from ecglib.data.any_file import read_ecg
from ecglib.data.synthetic import simulate_record
from ecglib.errors import DataError, SignalError
from ecglib.signals import LEADS, quality

HZ = 250.0


@pytest.fixture(scope="module")
def ecg_mv():
    return simulate_record("ptb-xl", 3, 1, HZ, 4.0).ecg_mv


def write(path, ecg, names=LEADS, *, times=None, time_name="time", sep=",", decimals=6):
    columns = {} if times is None else {time_name: times}
    table = pd.DataFrame(columns | dict(zip(names, ecg, strict=True)))
    table.to_csv(path, index=False, sep=sep, float_format=f"%.{decimals}f")
    return path


def refused(path, message, error=SignalError, **asked):
    with pytest.raises(error) as caught:
        read_ecg(path, **asked)
    assert path.name in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(12)),
    upper=st.lists(st.booleans(), min_size=12, max_size=12),
    sep=st.sampled_from([",", ";", "\t"]),
    style=st.sampled_from(["{}", " {} ", "Lead {}", "{} (mV)", "{}_mV"]),
)
def test_leads_of_a_table_are_found_by_name_alone(tmp_path_factory, order, upper, sep, style):  # fmt: skip
    ecg = np.random.default_rng(0).normal(0, 0.4, (12, 300)).astype(np.float32)
    names = [style.format(LEADS[i].upper() if up else LEADS[i].lower()) for i, up in zip(order, upper, strict=True)]
    path = write(tmp_path_factory.mktemp("t") / "a.csv", ecg[list(order)], names, sep=sep)
    found, hz, about = read_ecg(path, sampling_rate_hz=HZ)
    np.testing.assert_allclose(found, ecg, atol=1e-5)
    assert found.dtype == np.float32
    assert (hz, about["duration_s"], about["file"]) == (HZ, 300 / HZ, "a.csv")


@pytest.mark.parametrize(
    ("name", "per_s", "hz"),
    [("time", 1, 250), ("t", 1000, 250), ("time_ms", 1000, 500), ("Time (s)", 1, 100), ("ms", 1000, 360),
     ("seconds", 1, 1000)],
)  # fmt: skip
def test_the_rate_comes_from_times(tmp_path, ecg_mv, name, per_s, hz):
    times = 7.5 + per_s * np.arange(ecg_mv.shape[1]) / hz
    path = write(tmp_path / "a.txt", ecg_mv, times=times, time_name=name, sep="\t")
    assert read_ecg(path)[1] == hz
    assert read_ecg(path, sampling_rate_hz=hz)[1] == hz
    refused(path, "leave it out", sampling_rate_hz=2 * hz)


def test_rounded_times_still_give_the_rate(tmp_path, ecg_mv):
    times = np.round(1000 * np.arange(ecg_mv.shape[1]) / 360)  # 3, 3, 2, 3 ms
    path = write(tmp_path / "a.csv", ecg_mv, times=times, time_name="time_ms")
    assert read_ecg(path)[1] == pytest.approx(360, rel=1e-3)


def test_units_by_header_and_by_argument(tmp_path, ecg_mv):
    by_argument = write(tmp_path / "a.csv", 1000 * ecg_mv)
    np.testing.assert_allclose(read_ecg(by_argument, sampling_rate_hz=HZ, unit="uV")[0], ecg_mv, atol=1e-5)
    by_header = write(tmp_path / "b.csv", 1000 * ecg_mv, [f"{lead} [µV]" for lead in LEADS])
    np.testing.assert_allclose(read_ecg(by_header, sampling_rate_hz=HZ)[0], ecg_mv, atol=1e-5)
    refused(by_argument, "name the unit", sampling_rate_hz=HZ)
    refused(by_header, "leave it out or mend the header", sampling_rate_hz=HZ, unit="mV")
    in_volt = write(tmp_path / "c.csv", ecg_mv / 1000, decimals=9)
    refused(in_volt, "name the unit", sampling_rate_hz=HZ)
    np.testing.assert_allclose(read_ecg(in_volt, sampling_rate_hz=HZ, unit="V")[0], ecg_mv, atol=1e-5)
    refused(in_volt, "unit = 'mV' is wrong", sampling_rate_hz=HZ, unit="mV")
    with pytest.raises(SignalError, match="unit = 'kg': unknown unit; give nV, uV, mV or V"):
        read_ecg(in_volt, unit="kg")


def test_missing_cells_and_decimal_commas(tmp_path, ecg_mv):
    path = write(tmp_path / "a.csv", ecg_mv, sep=";")
    lines = path.read_text().replace(".", ",").splitlines()
    lines[5] = ";".join(["", *lines[5].split(";")[1:]])
    path.write_text("\n".join(lines))
    found = read_ecg(path, sampling_rate_hz=HZ)[0]
    assert np.isnan(found[0, 4])
    assert np.isnan(found).sum() == 1
    np.testing.assert_allclose(found[:, 5:], ecg_mv[:, 5:], atol=1e-5)


def test_columns_between_blanks(tmp_path, ecg_mv):
    path = tmp_path / "a.txt"
    rows = [" ".join(LEADS), *("  ".join(f"{x:.5f}" for x in sample) for sample in ecg_mv.T)]
    path.write_text("\n".join(rows))
    np.testing.assert_allclose(read_ecg(path, sampling_rate_hz=HZ)[0], ecg_mv, atol=1e-4)


EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def test_of_eight_leads_the_other_four_follow(tmp_path, ecg_mv):
    """Einthoven and Goldberger: with the leads that were left out, the record is the same to the file's rounding."""
    rows = [LEADS.index(lead) for lead in EIGHT[::-1]]
    path = write(tmp_path / "a.csv", ecg_mv[rows], [lead.lower() for lead in EIGHT[::-1]])
    lines = path.read_text().splitlines()
    lines[8] = ",".join([*lines[8].split(",")[:-1], ""])  # a gap in lead I
    path.write_text("\n".join(lines))
    found, _, about = read_ecg(path, sampling_rate_hz=HZ)
    assert about["derived"] == ("III", "aVR", "aVL", "aVF")
    assert np.flatnonzero(np.isnan(found[:, 7])).tolist() == [0, 2, 3, 4, 5]  # what a lead I is needed for
    assert np.isnan(found).sum() == 5
    np.testing.assert_allclose(np.delete(found, 7, axis=1), np.delete(ecg_mv, 7, axis=1), atol=1e-5)
    assert not quality(np.delete(found, 7, axis=1), HZ, shortest_s=3.0)
    whole = read_ecg(write(tmp_path / "b.csv", ecg_mv), sampling_rate_hz=HZ)[2]
    assert whole["derived"] == ()


def test_nothing_is_derived_where_a_limb_lead_is_there_or_another_is_missing(tmp_path, ecg_mv):
    for name, leads, missing in (
        ("a.csv", [*EIGHT, "III"], "lead aVR, aVL, aVF missing"),
        ("b.csv", EIGHT[:7], "lead III, aVR, aVL, aVF, V6 missing"),
        ("c.csv", ["II", "III", *EIGHT[2:]], "lead I, aVR, aVL, aVF missing"),
    ):
        rows = [LEADS.index(lead) for lead in leads]
        refused(write(tmp_path / name, ecg_mv[rows], leads), missing, sampling_rate_hz=HZ)
    rows = [LEADS.index(lead) for lead in EIGHT]
    twice = write(tmp_path / "d.csv", np.vstack([ecg_mv[rows], ecg_mv[:1]]), [*EIGHT, "lead_i"])
    refused(twice, "lead I given twice", sampling_rate_hz=HZ)


def test_a_page_says_which_leads_were_derived(tmp_path, ecg_mv):
    from ecglib.chapters import reading

    rows = [LEADS.index(lead) for lead in EIGHT]
    said = {}
    for name, leads, ecg in (("eight.csv", EIGHT, ecg_mv[rows]), ("twelve.csv", LEADS, ecg_mv)):
        path = write(tmp_path / name, ecg, leads)
        run = SimpleNamespace(params={"path": str(path), "sampling_rate_hz": HZ, "unit": "mV", "seed": 0})
        said[name] = reading.described(reading.record(run)).to_html()
    assert "III, aVR, aVL, aVF are not in the file and were derived from I and II" in said["eight.csv"]
    assert "derived" not in said["twelve.csv"]


def test_wrong_tables_have_one_clear_message(tmp_path, ecg_mv):
    refused(write(tmp_path / "a.csv", ecg_mv), "give sampling_rate_hz")
    refused(write(tmp_path / "b.csv", ecg_mv[:11], LEADS[:11]), "lead V6 missing", sampling_rate_hz=HZ)
    twice = write(tmp_path / "c.csv", np.vstack([ecg_mv, ecg_mv[:1]]), [*LEADS, "lead_i"])
    refused(twice, "lead I given twice", sampling_rate_hz=HZ)
    more = write(tmp_path / "d.csv", np.vstack([ecg_mv, ecg_mv[:1]]), [*LEADS, "MCL1"])
    refused(more, "'MCL1'", sampling_rate_hz=HZ)
    headless = tmp_path / "e.csv"
    np.savetxt(headless, ecg_mv.T, delimiter=",")
    refused(headless, "must name the leads", sampling_rate_hz=HZ)
    worded = write(tmp_path / "f.csv", ecg_mv)
    lines = worded.read_text().splitlines()
    lines[1] = ",".join(["off", *lines[1].split(",")[1:]])
    worded.write_text("\n".join(lines))
    refused(worded, "row 2 of column I is 'off'", sampling_rate_hz=HZ)
    uneven = np.arange(ecg_mv.shape[1]) / HZ
    uneven[500:] += 0.5
    refused(write(tmp_path / "g.csv", ecg_mv, times=uneven), "do not run evenly")
    odd = write(tmp_path / "h.csv", ecg_mv, times=np.arange(ecg_mv.shape[1]))
    assert read_ecg(odd)[1] == 1000  # numbered by milliseconds, as far as the step can tell
    refused(write(tmp_path / "i.csv", ecg_mv, times=50.0 * np.arange(ecg_mv.shape[1])), "is no sampling rate")
    refused(write(tmp_path / "j.csv", 0 * ecg_mv), "0 mV", sampling_rate_hz=HZ)
    (tmp_path / "k.csv").write_text("")
    refused(tmp_path / "k.csv", "is empty", sampling_rate_hz=HZ)
    (tmp_path / "l.csv").write_bytes(b"I,II\n\xff\xfe\n")
    refused(tmp_path / "l.csv", "UTF-8", sampling_rate_hz=HZ)
    for hz in (20.0, -5.0, float("nan")):
        with pytest.raises(SignalError, match=f"sampling_rate_hz = {hz:g}: an ECG has 50 to 4000"):
            read_ecg(write(tmp_path / "m.csv", ecg_mv), sampling_rate_hz=hz)


def test_files_of_no_known_form(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    refused(tmp_path / "a.pdf", "unknown form", DataError)
    refused(tmp_path / "gone.csv", "does not exist", DataError)
    (tmp_path / "b.dat").write_bytes(b"\0\0")
    refused(tmp_path / "b.dat", "b.hea beside it", DataError)
    (tmp_path / "c.mat").write_bytes(b"nothing")
    refused(tmp_path / "c.mat", "copy it again")
    refused(tmp_path, "is a folder", DataError)
    with pytest.raises(DataError, match="no file named"):
        read_ecg("")


def test_matlab_files_without_a_header(tmp_path, ecg_mv):
    savemat(tmp_path / "a.mat", {"val": np.round(1000 * ecg_mv).astype(np.int16)}, format="4")
    refused(tmp_path / "a.mat", "a.hea")
    found, hz, _ = read_ecg(tmp_path / "a.mat", sampling_rate_hz=HZ, unit="uV")
    np.testing.assert_allclose(found, ecg_mv, atol=6e-4)
    assert hz == HZ
    savemat(tmp_path / "b.mat", {"val": ecg_mv[:3]})
    refused(tmp_path / "b.mat", "(3, 1000)", sampling_rate_hz=HZ, unit="mV")
    savemat(tmp_path / "c.mat", {"x": ecg_mv})
    refused(tmp_path / "c.mat", "with x in it")


def test_wfdb_by_header_data_or_stem(tmp_path, ecg_mv):
    import wfdb

    names = [*LEADS[:4], "AVF", "AVL", *LEADS[6:]]
    rows = [LEADS.index({"AVF": "aVF", "AVL": "aVL"}.get(name, name)) for name in names]
    wfdb.wrsamp("r1", HZ, ["mV"] * 12, names, p_signal=ecg_mv[rows].T.astype(float), fmt=["16"] * 12,
                adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
                comments=["Age: 61", "Sex: Female"])  # fmt: skip
    for path in ("r1", "r1.hea", "r1.dat"):
        found, hz, about = read_ecg(tmp_path / path)
        np.testing.assert_allclose(found, ecg_mv, atol=6e-4)
        assert (hz, about["form"], about["age"], about["sex"]) == (HZ, "WFDB", "61", "Female")
    refused(tmp_path / "r1.hea", "leave unit", unit="uV")
    (tmp_path / "r1.dat").write_bytes((tmp_path / "r1.dat").read_bytes()[:-24])
    refused(tmp_path / "r1.hea", "cut short")


def write_wfdb(folder, name, ecg, leads):
    import wfdb

    wfdb.wrsamp(name, HZ, ["mV"] * len(leads), list(leads), p_signal=ecg.T.astype(float), fmt=["16"] * len(leads),
                adc_gain=[1000.0] * len(leads), baseline=[0] * len(leads), write_dir=str(folder))  # fmt: skip
    return folder / f"{name}.hea"


def test_wfdb_of_eight_leads_or_three(tmp_path, ecg_mv):
    rows = [LEADS.index(lead) for lead in EIGHT]
    found, _, about = read_ecg(write_wfdb(tmp_path, "eight", ecg_mv[rows], EIGHT))
    np.testing.assert_allclose(found, ecg_mv, atol=1.1e-3)
    assert about["derived"] == ("III", "aVR", "aVL", "aVF")
    refused(write_wfdb(tmp_path, "three", ecg_mv[:3], LEADS[:3]), "a record needs twelve")
    monitor = write_wfdb(tmp_path, "monitor", ecg_mv[:2], ["MLII", "V5"])
    refused(monitor, "has the leads MLII, V5, and a record needs twelve")


def test_leads_of_frank_beside_the_twelve_are_left_out(tmp_path, ecg_mv):
    order = ["vx", *LEADS[::-1], "VY", "vz"]
    path = write_wfdb(tmp_path, "ptb", np.concatenate([ecg_mv[:1], ecg_mv[::-1], ecg_mv[:2]]), order)
    found, _, about = read_ecg(path)
    np.testing.assert_allclose(found, ecg_mv, atol=1.1e-3)
    assert (about["left_out"], about["derived"]) == (("vx", "VY", "vz"), ())


def test_a_message_names_its_file_once_and_a_remedy(tmp_path, ecg_mv):
    write_wfdb(tmp_path, "a", ecg_mv, LEADS)
    for name, text in (("empty", ""), ("page", "<html>404</html>"), ("short", "short 12 250 1000\n")):
        (tmp_path / f"{name}.hea").write_text(text)
        refused(tmp_path / f"{name}.hea", "copy header and data again")
        with pytest.raises(SignalError) as caught:
            read_ecg(tmp_path / f"{name}.hea")
        assert str(caught.value).count(f"{name}.hea") == 1


def test_every_real_file_is_read(real_data):
    """Plausible by the package's own rules; CPSC2018 holds one record in two forms in no folder, so each is read."""
    files = [
        *sorted(real_data("ptbxl_subset").rglob("*.hea"))[::20],
        *sorted(real_data("cinc2021_samples").rglob("*.mat")),
        *sorted(real_data("cpsc2018_original").glob("*.mat")),
    ]
    assert len(files) > 100
    for path in files:
        found, hz, about = read_ecg(path)
        assert found.shape == (12, about["samples"])
        assert hz in (100, 500, 1000)
        assert not [p for p in quality(found, hz) if p.startswith(("absurd", "limb"))], path.name


def test_a_table_that_lies_on_its_side_or_has_many_columns_is_refused_in_few_words(tmp_path, ecg_mv):
    path = tmp_path / "a.csv"
    pd.DataFrame(ecg_mv, index=LEADS).to_csv(path, header=False)
    with pytest.raises(SignalError, match=r"names 1 of the twelve leads .* turn it over") as caught:
        read_ecg(path, sampling_rate_hz=HZ)
    assert len(str(caught.value)) < 400
    pd.DataFrame(ecg_mv.T, columns=LEADS).to_csv(path)
    with pytest.raises(SignalError, match=r"columns one without a name; a table has"):
        read_ecg(path, sampling_rate_hz=HZ)
    pd.DataFrame(ecg_mv.T, columns=LEADS).assign(**{f"extra{k}": 0 for k in range(9)}).to_csv(path, index=False)
    with pytest.raises(SignalError, match=r"'extra4' and 4 more; a table has"):
        read_ecg(path, sampling_rate_hz=HZ)
