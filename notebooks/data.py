# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Data: the simulator and the real sets
#
# The papers' data cannot be shipped, so every chapter runs on a simulator unless it is given real records. This chapter
# shows what it draws. A reader who knows ECGs should recognise each tracing before reading its title; where that fails,
# scores on simulated data mean little.

# %% [markdown]
# **At a glance**
#
# | | |
# |---|---|
# | what is here | counterparts of MIMIC-IV-ECG (with reports), PTB-XL, CPSC2018 and CSN, deterministic from a seed |
# | what is shown | twelve conditions on clinical paper, class counts of six tasks, true waveform features, reports |
# | real records | with `dataset` and `data_root` the same cells describe an original set beside the simulated one |
# | machine | two CPU cores, under a minute |
# | left out | no model is trained; [another chapter](../simulator_realism/simulator_realism) tells how real these are |

# %% tags=["parameters"]
profile: str = "demo"  # demo (100 Hz), gpu or paper (500 Hz)
seed: int = 0  # of everything simulated
dataset: str = "simulated"  # simulated, or a real set to put beside it: mimic-iv-ecg, ptb-xl, cpsc2018 or csn
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where figures, tables and the run record go
n_records: int = 2000  # simulated records per set, at least 100

# %%
import numpy as np
import pandas as pd
from IPython.display import display

from ecglib import datasets, figures
from ecglib.data import open_dataset
from ecglib.data.synthetic import simulate_record
from ecglib.errors import ParameterError
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.profiles import get_profile
from ecglib.run import data_entry, start

run = start("data", globals())
if n_records < 100:
    raise ParameterError(f"n_records = {n_records}: this chapter needs at least 100 of each set")
hz = get_profile(profile).sampling_rate_hz

# %% [markdown]
# ## How a simulated ECG is made
#
# The heart is a moving dipole $\mathbf d(t)$, a sum of wavefronts in atria and ventricles, each with a direction, a
# time and a size that follow from rhythm, conduction and disease. The body turns it into leads,
# $v_\ell(t) = \mathbf l_\ell \cdot \mathbf d(t) + b_\ell(t)$, with lead vectors $\mathbf l_\ell$ that vary with habitus
# and with where the electrodes were put, in V1 to V6 others for atria and recovery than for the QRS; $b_\ell$ is what a
# chest electrode sees of the muscle near it, which no dipole tells. The recorder adds baseline wander, mains, muscle
# and its filters, at the electrodes, so that II = I + III still holds.
#
# A condition changes the physiology and not a picture: left bundle branch block delays the left ventricle's
# activation, and the wide QRS, the lost septal Q and the discordant T wave follow.
#
# Record $i$ depends on (seed, set, $i$) alone, so the number of worker processes changes nothing. The pictures are
# drawn at 500 Hz, whatever the profile.

# %%
CONDITIONS = {
    "Normal ECG": [],
    "Atrial fibrillation": ["AFIB"],
    "Atrial flutter": ["AFLT"],
    "Complete right bundle branch block": ["CRBBB"],
    "Complete left bundle branch block": ["CLBBB"],
    "Left anterior fascicular block": ["LAFB"],
    "Left ventricular hypertrophy": ["LVH"],
    "Inferior myocardial infarction": ["IMI"],
    "Anteroseptal myocardial infarction": ["ASMI"],
    "Third degree AV block": ["3AVB"],
    "Wolff-Parkinson-White pattern": ["WPW"],
    "Paced rhythm": ["PACE"],
}
for number, (title, codes) in enumerate(CONDITIONS.items()):
    record = simulate_record("ptb-xl", seed, number, 500, codes=codes)
    fig = figures.plot_ecg(record.ecg_mv, 500, title=f"{title} (simulated)", report=record.report)
    display(figures.show(fig, dpi=100, colors=24))

# %% [markdown]
# ## Classes
#
# Six tasks, 106 classes. Every class occurs, rare ones more often than in life so that a few thousand records hold
# some of each; the counterpart of each set has its own prevalence, noise and manner of reporting.

# %%
stores = {
    name: open_dataset("simulated", cohort=name, n=n_records, seed=seed, sampling_rate_hz=hz)
    for name in ("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")
}
counts = []
for name, tasks in datasets.TASKS_OF.items():
    for task in tasks:
        view, labels, classes = stores[name].task(task)
        counts += [{"task": task, "class": c, "records": int(n)} for c, n in zip(classes, labels.sum(0), strict=True)]
counts = pd.DataFrame(counts)
run.save_table(counts, "class_counts")
counts.groupby("task", sort=False)["records"].agg(["count", "min", "median", "max"]).rename(
    columns={"count": "classes", "min": "rarest", "median": "typical", "max": "commonest"}
)

# %% [markdown]
# ## Truth that real data lacks
#
# With each record comes what no annotator can give: the intervals, the axis and the ST levels that the simulation used.
# The table holds them for healthy hearts; published normal ranges (adults) stand beside.

# %%
NORMAL = {
    "rate_bpm": "60-100",
    "pr_ms": "120-200",
    "qrs_ms": "70-110",
    "qtc_ms": "350-450 (men), 360-460 (women)",
    "axis_deg": "-30 to 90",
}
healthy = stores["ptb-xl"].records
healthy = healthy[[("NORM" in codes and len(codes) <= 2) for codes in healthy["findings"]]]
features = healthy[[f"feature/{name}" for name in NORMAL]].rename(columns=lambda c: c.removeprefix("feature/"))
truth = features.quantile([0.025, 0.5, 0.975]).T.round(0).astype(int)
truth.columns = ["2.5 %", "median", "97.5 %"]
truth.assign(**{"normal range": NORMAL})

# %% [markdown]
# ## Reports
#
# The pre-training set's reports imitate a cart: rhythm first, hedges, omissions, a summary at the end, and much
# repetition. What the cart leaves out, the model does not learn from text.

# %%
reports = stores["mimic-iv-ecg"].records["report"]
words = reports.str.split().str.len()
print(f"{len(reports):,} reports, {reports.nunique():,} distinct, median {words.median():.0f} words")
pd.DataFrame({"report": reports.sample(min(8, len(reports)), random_state=seed).tolist()})

# %% [markdown]
# ## Real records
#
# With `dataset` and `data_root` an original set is read, checked and kept as a record store: leads put in order by
# *name*, millivolts, resampled, broken records set aside with their reason. Below, amplitude by lead beside the
# simulated counterpart, unlabelled.

# %%
shown = {"simulated " + name: store for name, store in stores.items() if name in ("ptb-xl", dataset)}
if dataset != "simulated":
    original = open_dataset(dataset, data_root, sampling_rate_hz=hz)
    shown["real " + dataset] = original
    print(f"{len(original):,} records of {original.records['patient'].nunique():,} patients;", end=" ")
    print(f"{len(original.card.get('quarantined', []))} set aside as broken")
    fig = figures.plot_ecg(
        original.read([0])[0], hz, title=f"A real record of {dataset}", report=original.records["report"][0]
    )
    run.save_figure(fig, "real_record")
    display(figures.show(fig))
spans = {}
for name, store in shown.items():
    ecg = store.read(np.arange(min(300, len(store))))
    span = np.percentile(ecg, 99.5, axis=2) - np.percentile(ecg, 0.5, axis=2)
    spans[name] = pd.Series(np.median(span, axis=0), index=store.card["leads"])
pd.DataFrame(spans).T.round(2).rename_axis("median span of the tracing, mV")

# %% [markdown]
# ## Try it
#
# * `seed = 1` draws other hearts with the same conditions.
# * `profile = "gpu"` draws the same records at 500 Hz.
# * In a new cell, `simulate_record("ptb-xl", 3, 0, 500, codes=["AFLT"]).features` gives the truth behind one tracing.
#
# Next: {doc}`DERI learns from these pairs </results/deri_pretrain/deri_pretrain>`.

# %%
present = counts.assign(some=counts["records"] > 0).groupby("task", sort=False)["some"].agg(["sum", "count"])
metrics = [
    {
        "method": "simulator",
        "dataset": task,
        "data_kind": "simulated",
        "setting": f"classes with a record among {n_records}",
        "metric": "classes_present",
        "value": float(row["sum"]),
        "ci_low": None,
        "ci_high": None,
        "n": n_records,
        "evaluator_version": EVALUATOR_VERSION,
    }
    for task, row in present.iterrows()
]
entries = {name: data_entry("simulated", store, "describe") for name, store in stores.items()}
if dataset != "simulated":
    entries["real " + dataset] = data_entry(datasets.data_kind(original, dataset), original, "describe")
written = run.record(metrics, data=entries)
