"""The steps of the chapter that reads one ECG: the record, the reader, statements, superclasses, measurements."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from ecglib import chapters, figures, knowledge
from ecglib import reader_figures as charts
from ecglib.data.any_file import read_ecg
from ecglib.data.labels import scp_statements
from ecglib.data.one_record import MOST_MISSING
from ecglib.data.synthetic import simulate_record
from ecglib.delineate import measure_ecg
from ecglib.errors import CheckpointError, ParameterError, SignalError
from ecglib.paths import expand, sha256_of
from ecglib.reader import SHORTEST_S, Reader
from ecglib.run import Run
from ecglib.signals import LEADS, fill_missing, quality
from ecglib.statements import shown
from ecglib.tables import set_out

SEED = 4_000_037  # added to the seed of the simulated record: no reader has seen it
SIMULATED_HZ = 500.0
LONG_NAMES = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST and T changes",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
# measurement -> name, unit, lowest and highest normal value of adults (men and women alike, so the wider of two)
NORMAL = {
    "rate_bpm": ("heart rate", "1/min", 60, 100),
    "pr_ms": ("PR interval", "ms", 120, 200),
    "p_ms": ("P wave", "ms", 60, 120),
    "qrs_ms": ("QRS duration", "ms", 70, 110),
    "qtc_ms": ("QT, corrected", "ms", 350, 460),
    "axis_deg": ("QRS axis", "degrees", -30, 90),
}
WARNING = (
    "> **This is no medical device and gives no diagnosis.** The reader was trained on simulated ECGs and simulated "
    "reports alone, and its probabilities are calibrated on simulated patients only: on a real one they may be far "
    "off, in either direction. Use it to study the method. Whoever needs an ECG read asks a physician."
)


@dataclass(frozen=True)
class Record:
    """One ECG, where it is from, and what is known of it beforehand."""

    ecg_mv: np.ndarray  # (12, T), missing samples NaN
    hz: float
    title: str
    facts: dict[str, str]
    report: str = ""
    findings: tuple[str, ...] = ()  # of a simulated one

    @property
    def kind(self) -> str:
        return "simulated" if self.findings else "subset"


def warning() -> Markdown:
    """What this chapter is not."""
    return Markdown(WARNING)


def record(run: Run) -> Record:
    """The record of the parameter ``path``; without one a fresh simulated one that is not normal."""
    p = run.params
    if p["path"]:
        ecg_mv, hz, about = read_ecg(p["path"], sampling_rate_hz=p["sampling_rate_hz"] or None, unit=p["unit"])
        _readable(ecg_mv, hz, about["file"])
        facts = {"form": about["form"], "age": about["age"] or "not said", "sex": about["sex"] or "not said"}
        if about["derived"]:
            facts["leads"] = f"{', '.join(about['derived'])} are not in the file and were derived from I and II"
        if about["left_out"]:
            facts["left out"] = f"{', '.join(about['left_out'])}, Frank's leads, which the reader has never seen"
        return Record(ecg_mv, hz, about["file"], facts)
    if given := [f"{name} = {p[name]!r}" for name in ("sampling_rate_hz", "unit") if p[name]]:
        raise ParameterError(
            f"path is empty, so there is no file for {' and '.join(given)} to describe: give path, or leave this out"
        )
    index = 0
    while "NORM" in (made := simulate_record("ptb-xl", p["seed"] + SEED, index, SIMULATED_HZ)).findings:
        index += 1
    facts = {"form": "simulated", "age": f"{made.age:.0f}", "sex": made.sex}
    return Record(made.ecg_mv, SIMULATED_HZ, "A simulated record", facts, made.report, made.findings)


def _readable(ecg_mv: np.ndarray, hz: float, file: str) -> None:
    """SignalError that names the file, before anything is drawn, when a reader could not take its record."""
    if ecg_mv.shape[1] < SHORTEST_S * hz:
        seconds = ecg_mv.shape[1] / hz
        raise SignalError(f"{file}: {seconds:.2f} s long, and a reader needs {SHORTEST_S} s: give a longer record")
    missing = np.isnan(ecg_mv).mean()
    if missing > MOST_MISSING:
        raise SignalError(f"{file}: {missing:.0%} of its samples are missing: give a record of which more was kept")


def described(of: Record) -> Any:
    """What the file says of the record, and what is wrong with it, if anything."""
    problems = quality(of.ecg_mv, of.hz)
    rows = of.facts | {
        "sampling rate": f"{of.hz:g} Hz",
        "duration": f"{of.ecg_mv.shape[1] / of.hz:.1f} s",
        "quality": "; ".join(problems) or "nothing to object to",
    }
    return chapters.facts(of.title, rows)


def show(of: Record) -> Any:
    """The first ten seconds on clinical paper, gaps drawn as straight lines."""
    filled, _ = fill_missing(of.ecg_mv)
    return figures.show(figures.plot_ecg(filled, of.hz, title=of.title, report=of.report))


def reader(run: Run) -> Reader:
    """The reader in the folder of the parameter ``reader``; CheckpointError that says how to make one."""
    folder = expand(run.params["reader"])
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"there is no reader in {run.params['reader']}; make one with `make reader`, or name another folder with "
            "-p reader"
        )
    return Reader.from_pretrained(folder)


def provenance(of: Reader) -> Any:
    """What made the reader."""
    training, population = of.about["training"], of.about["calibration"]
    recipe = training["recipe"]
    rows = {
        "trained on": f"{recipe['n_records']:,} simulated records of {recipe['cohort']}, {recipe['epochs']} passes",
        "calibrated on": f"{population['n']:,} simulated records of {population['cohort']}",
        "hearts of the simulator": f"fitted to {training['population']}",
        "statements": f"{len(of.codes)}",
        "reads at": f"{of.sampling_rate_hz:g} Hz",
        "weights": f"{sum(p.numel() for p in of.parameters()):,}",
    }
    return chapters.facts("reader", rows)


def statements(of: Reader, ecg: Record, n: int = 15) -> pd.DataFrame:
    """The ``n`` statements with the highest probability; ``there`` tells of a simulated record what is true."""
    p = of.probabilities(ecg.ecg_mv[None], ecg.hz)[0]
    usual = of.about["calibration"]["prevalence"]
    there = shown([ecg.findings], of.codes)[0]
    rows = []
    for c in np.argsort(-p, kind="stable")[:n]:
        code = of.codes[c]
        rows.append(
            {
                "statement": code,
                "name": knowledge.finding(code)["name"],
                "superclass": scp_statements()[code]["super"],
                "probability, %": round(100 * float(p[c]), 1),
                "in the population, %": round(100 * usual[code], 1),
            }
            | ({"there": "yes" if there[c] else ""} if ecg.findings else {})
        )
    return pd.DataFrame(rows)


def statement_table(table: pd.DataFrame) -> Any:
    """`statements` for display."""
    return set_out(table, ["statement", "name", "superclass"])


def superclasses(run: Run, of: Reader, ecg: Record) -> pd.DataFrame:
    """The five superclasses as bars; returned as a table."""
    p = of.superclasses(ecg.ecg_mv[None], ecg.hz)[0]
    names = [f"{name}, {LONG_NAMES[name]}" for name in of.superclass_names]
    usual = of.about["calibration"]["superclasses"]
    fig = charts.probability_bars(names, p, np.array([usual[name] for name in of.superclass_names]))
    run.save_figure(fig, "superclasses")
    display(figures.show(fig))
    return pd.DataFrame({"superclass": names, "probability": p})


def measurements(ecg: Record) -> Any:
    """What a cardiograph would measure, beside the normal limits of adults; words where nothing can be measured."""
    try:
        found = measure_ecg(ecg.ecg_mv, ecg.hz)
    except SignalError as error:
        return Markdown(f"Nothing was measured: {error}.")
    rows = {}
    for key, (name, unit, low, high) in NORMAL.items():
        value = found[key]
        verdict = "not to be told" if np.isnan(value) else "below" if value < low else "above" if value > high else ""
        said = "–" if np.isnan(value) else f"{value:.0f}".replace("-", "\u2212")
        limits = f"{low}\u00a0to\u00a0{high}".replace("-", "\u2212")
        rows[name] = {"measured": said, "unit": unit, "normal": limits, "outside": verdict}
    for name, wave in (("highest R", "r"), ("deepest S", "s")):
        lead = max(LEADS, key=lambda lead: found[f"{wave}_mv_{lead}"])
        rows[name] = {"measured": f"{lead} {found[f'{wave}_mv_{lead}']:.2f}", "unit": "mV"}
    limits = {lead: 0.2 if lead in ("V2", "V3") else 0.1 for lead in LEADS if lead != "aVR"}
    moved = [lead for lead, limit in limits.items() if abs(found[f"st_mv_{lead}"]) > limit]
    st = ", ".join(f"{lead} {found[f'st_mv_{lead}']:+.2f}".replace("-", "\u2212") for lead in moved)
    rows["ST beyond 0.1 mV (V2, V3: 0.2)"] = {
        "measured": st or "in no lead",
        "unit": "mV",
        "normal": "in no lead",
        "outside": "yes" if moved else "",
    }
    table = pd.DataFrame(rows).T.fillna("")
    return table.style.set_properties(**{"text-align": "left"}).set_uuid(sha256_of(table.to_csv(), 8))


def truth(ecg: Record) -> Markdown:
    """Of a simulated record what is true; of a real one nothing is known here."""
    if not ecg.findings:
        return Markdown("Of a record of yours nothing is known here, and nothing of it was used beyond this page.")
    named = ", ".join(f"{knowledge.finding(code)['name']} ({code})" for code in ecg.findings)
    return Markdown(f"This record is simulated, so the truth is known: {named}.")


def finish(run: Run, of: Reader, ecg: Record) -> None:
    """The run record; of a record of one's own it stays in ``results/local``, which git ignores."""
    print_of_it = sha256_of(np.ascontiguousarray(ecg.ecg_mv, dtype="<f4").tobytes(), 16)
    made = {"kind": "simulated", "fingerprint": of.about["training"]["data"], "role": "pretrain",
            "counts": {"records": of.about["training"]["recipe"]["n_records"]}}  # fmt: skip
    run.record(
        [],
        data={"record": {"kind": ecg.kind, "fingerprint": print_of_it, "counts": {"records": 1}, "role": "describe"},
              "pretrain": made},
        model=of.config,
        notes="read by a reader that simulated records alone have trained and calibrated",
    )  # fmt: skip
