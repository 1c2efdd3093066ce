"""The page of one ECG, with the reader that comes with the repository."""

from pathlib import Path

import pytest

from ecglib.chapters import reading
from ecglib.data.synthetic import simulate_record
from ecglib.reader import Reader

SHIPPED = Path(__file__).resolve().parents[1] / "results/reader"


@pytest.mark.parametrize(("finding", "filed"), [("2AVB1", "2AVB"), ("AFIB", "AFIB")])
def test_what_is_true_is_marked_at_the_statement_that_files_it(finding, filed):
    """PTB-XL has one statement for both second-degree blocks; the simulator tells them apart."""
    made = simulate_record("ptb-xl", 3, 0, reading.SIMULATED_HZ, codes=[finding])
    assert finding in made.findings
    ecg = reading.Record(made.ecg_mv, reading.SIMULATED_HZ, "one", {}, made.report, made.findings)
    reader = Reader.from_pretrained(SHIPPED)
    table = reading.statements(reader, ecg, n=len(reader.codes))
    there = set(table.loc[table["there"] == "yes", "statement"])
    assert filed in there
    assert there - {filed} == (set(made.findings) - {finding}) & set(reader.codes)
