"""Reading WFDB records: equal to wfdb on every real file, and a clear word on every broken one."""

import numpy as np
import pytest
from wfdb_files import MIMIC_LEADS, edit, heartbeat, write_record

from ecglib.data.wfdb_io import read_header, read_record
from ecglib.errors import SignalError
from ecglib.signals import LEADS, order_leads

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def test_a_record_comes_back_in_millivolts_and_in_order(tmp_path):
    for name, leads in (("a", LEADS), ("b", MIMIC_LEADS), ("c", LEADS[::-1])):
        ecg_mv, hz = read_record(write_record(tmp_path, name, leads=leads))
        assert (ecg_mv.shape, ecg_mv.dtype, hz) == ((12, 5000), np.float32, 500.0)
        np.testing.assert_allclose(ecg_mv, heartbeat(), atol=0.000501)


@pytest.mark.parametrize(("unit", "scale"), [("uV", 1000.0), ("V", 0.001)])
def test_units_come_from_the_header(tmp_path, unit, scale):
    path = write_record(tmp_path, "a", heartbeat() * scale, unit=unit, gain=1000.0 / scale)
    np.testing.assert_allclose(read_record(path)[0], heartbeat(), atol=0.000501)


def test_missing_samples_are_nan(tmp_path):
    ecg = heartbeat()
    ecg[3, 10:20] = np.nan
    ecg_mv, _ = read_record(write_record(tmp_path, "a", ecg))
    assert np.isnan(ecg_mv[3, 10:20]).all()
    assert np.isnan(ecg_mv).sum() == 10


def test_an_unusual_format_goes_to_wfdb_with_the_same_result(tmp_path):
    """Format 24 is nothing the plain reader knows; missing samples and leads mean the same there."""
    ecg = heartbeat()
    ecg[3, 10:20] = np.nan
    plain, _ = read_record(write_record(tmp_path, "a", ecg, leads=MIMIC_LEADS))
    path = write_record(tmp_path, "b", ecg, leads=MIMIC_LEADS, fmt="24")
    assert read_header(path).signals is None
    other, hz = read_record(path)
    assert hz == 500
    np.testing.assert_allclose(other, plain, atol=1e-6)


def test_comments_of_a_header(tmp_path):
    header = read_header(write_record(tmp_path, "a", comments=["Age: 56", "Dx: 1,2", "Sex:Female"]))
    assert (header.comment("age"), header.comment("Dx"), header.comment("Sex")) == ("56", "1,2", "Female")
    assert header.comment("Rx") == ""


def test_a_record_line_that_wfdb_refuses(tmp_path):
    path = write_record(tmp_path, "E1")
    edit(path, "E1 12 500", "E1.mat 12 500", 1)
    assert read_record(path)[0].shape == (12, 5000)


def _cut(path):
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-240])


def _lengthen(path):
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes() + b"\0" * 24)


def _other_data(path):
    write_record(path.parent, "other", heartbeat(seed=3))
    path.with_suffix(".dat").write_bytes((path.parent / "other.dat").read_bytes())


def _flip_a_sample(path):
    data = bytearray(path.with_suffix(".dat").read_bytes())
    data[60000] ^= 4
    path.with_suffix(".dat").write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut, r"a\.dat is cut short: 119760 bytes, .* \(120000 bytes\)"),
        (_lengthen, "longer than its header says"),
        (lambda p: edit(p, " 5000", " 4000", 1), "longer than its header says"),
        (_other_data, "checksum of lead .* does not fit: a.hea and its data disagree"),
        (_flip_a_sample, "checksum of lead"),
        (lambda p: edit(p, "a 12 500", "a 11 500", 1), "announces 11 signals and describes 12"),
        (lambda p: edit(p, "V4", "V3"), "V3 given twice"),
        (lambda p: edit(p, "aVR", "MLII"), "unknown lead 'MLII'"),
        (lambda p: edit(p, "/mV", "/mmHg"), "unknown unit 'mmHg'"),
        (lambda p: edit(p, "1000.0(0)/mV", "0(0)/mV", 1), "gain of 0: not calibrated"),
        (lambda p: p.with_suffix(".dat").unlink(), "a.dat cannot be read: No such file"),
        (lambda p: p.unlink(), "a.hea cannot be read: No such file"),
        (lambda p: p.write_text(""), "no WFDB header"),
        (lambda p: p.write_text("<html>404</html>"), "wfdb cannot read"),
    ],
)
def test_a_broken_record_says_what_is_wrong(tmp_path, harm, message):
    path = write_record(tmp_path, "a")
    harm(path)
    with pytest.raises(SignalError, match=message):
        read_record(path)


def test_checksums_that_were_never_filled_in_are_not_compared(tmp_path):
    """Some programs write 0 for the first sample and the checksum of every lead; one that is not 0 says they did."""
    path = write_record(tmp_path, "a")
    whole, _ = read_record(path)
    lines = path.read_text().splitlines()
    fields = [line.split(" ") for line in lines[1:13]]  # file, form, gain, resolution, zero, first, checksum, block
    assert all(int(of[6]) for of in fields[6:])
    path.write_text("\n".join([lines[0], *(" ".join([*of[:5], "0", "0", *of[7:]]) for of in fields)]))
    np.testing.assert_array_equal(read_record(path)[0], whole)
    one = [[*of[:5], "0", "0", *of[7:]] for of in fields]
    one[6][6] = str(int(fields[6][6]) + 1)
    path.write_text("\n".join([lines[0], *map(" ".join, one)]))
    with pytest.raises(SignalError, match=r"checksum of lead .* copy header and data again"):
        read_record(path)


def test_a_missing_sample_of_another_format_is_not_that_of_format_16(tmp_path):
    """-32768 is a voltage like any other in 24 bits."""
    ecg = heartbeat()
    ecg[6, 100] = -32.768
    found, _ = read_record(write_record(tmp_path, "a", ecg, fmt="24"))
    assert found[6, 100] == pytest.approx(-32.768, abs=1e-3)
    assert np.isfinite(found).all()


def test_too_few_leads_are_told_before_anything_else(tmp_path):
    """A monitor's record of two leads, in either form, also when its data are damaged."""
    for name, fmt in (("a", "16"), ("b", "24")):
        path = write_record(tmp_path, name, leads=("II", "V5"), fmt=fmt)
        if fmt == "16":
            _cut(path)
        with pytest.raises(SignalError, match=r"has the leads II, V5, and a record needs twelve: lead I, III, .*"):
            read_record(path)


def test_data_that_are_not_there_are_named_in_every_form(tmp_path):
    for name, fmt in (("a", "16"), ("b", "24")):
        path = write_record(tmp_path, name, fmt=fmt)
        path.with_suffix(".dat").unlink()
        with pytest.raises(SignalError, match=rf"^{name}\.dat cannot be read: No such file"):
            read_record(path)


def test_a_missing_lead_is_named(tmp_path):
    path = write_record(tmp_path, "a", leads=LEADS[:8])
    with pytest.raises(SignalError, match="lead V3, V4, V5, V6 missing"):
        read_record(path)


def test_damage_shows_in_an_unusual_format_too(tmp_path):
    path = write_record(tmp_path, "a", fmt="24")
    data = bytearray(path.with_suffix(".dat").read_bytes())
    data[90000] ^= 4
    path.with_suffix(".dat").write_bytes(data)
    with pytest.raises(SignalError, match="checksum"):
        read_record(path)
    path.with_suffix(".dat").write_bytes(data[:1000])
    with pytest.raises(SignalError):
        read_record(path)


@pytest.mark.parametrize("folder", ["ptbxl_subset", "cinc2021_samples"])
def test_equal_to_wfdb_on_every_real_record(real_data, folder):
    import wfdb

    paths = sorted(real_data(folder).rglob("*.hea"))
    paths = paths[::4] if len(paths) > 200 else paths
    refused = []
    for path in paths:
        ecg_mv, hz = read_record(path)
        try:
            signal, facts = wfdb.rdsamp(str(path.with_suffix("")))
        except Exception:
            refused.append(path.stem)
            continue
        assert hz == facts["fs"]
        np.testing.assert_allclose(ecg_mv, order_leads(signal.T, facts["sig_name"]), rtol=1e-5, atol=1e-6)
    # Their first line names the record with the extension .mat; wfdb takes that for a syntax error.
    assert refused == [p.stem for p in paths if p.stem in ("E00018", "E00793")]
