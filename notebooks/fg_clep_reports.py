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
# # FG-CLEP: fine-grained reports
#
# Between its two stages FG-CLEP writes its own training texts {cite:p}`fg_clep`. A language model is asked which
# waveform features a report makes likely. It can be wrong in two ways: it may invent, and a diagnosis does not tell
# which of its possible features this patient has. So the first-stage model, CLEP, looks for each feature in the ECG,
# and only what it finds enters the report.
#
# The paper shows the effect on scores and no count of right and wrong features: real records do not say which waves
# they truly have. Simulated ones do. This chapter asks three things. What is proposed? Does the check keep true
# features and drop false ones? And does a model trained on the result know waveform features better?

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | records | MIMIC-IV-ECG, all pairs | 1,000 simulated pairs that no training saw; real ones with `dataset` |
# | proposals | Llama3-8B-Instruct, others in table 5 | the project's knowledge base; any model with `backend` |
# | check | CLEP, threshold not given | CLEP of the chapter before, `threshold` 0.02 |
# | truth | not known | measured on the noise-free beat of every simulated record |
# | machine | two A800 of 80 GB | two CPU cores, one to two minutes once the model is trained |

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated records and the bootstrap
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: pairs with reports
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
checkpoint: str = ""  # folder that fg_clep_pretrain made; empty: this profile's, trained first if there is none
results_dir: str = "results"  # where figures, tables and the run record go
backend: str = "knowledge"  # who proposes features (table 5): knowledge, local:<folder>, http://<server>/v1#<model>
threshold: float = -1.0  # a feature with a greater probability is kept; -1: the model's own
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ecglib import chapters, datasets, figures, fine_grained, pretrain, report_tasks
from ecglib import evaluate as ev
from ecglib import waveform_truth as wt
from ecglib.chapters import pretraining, zero_shot
from ecglib.run import data_entry, start

run = start("fg_clep_reports", globals(), choices={"dataset": pretraining.LEARNABLE})

# %% [markdown]
# ## Models and records
#
# Both stages are loaded: CLEP does the checking, FG-CLEP has learned from what it kept.

# %%
fg_clep, made_by = pretrain.pretrained("fg_clep", profile, seed, checkpoint, results_dir)
clep, _ = zero_shot.earlier_stage(run, "fg_clep", "stage-1")
store = datasets.held_out_pairs(profile, dataset, data_root, seed)
reports = list(store.records["report"])
kind = datasets.data_kind(store, dataset, folds=1)
cut = clep.config.threshold if threshold < 0 else threshold
print(f"{len(store):,} pairs ({kind}), {len(set(reports)):,} distinct reports; threshold {cut:g}")

# %% [markdown]
# ## Proposals
#
# The paper asks "What waveform features are most likely to be present in electrocardiograms with these symptoms?" and
# has the answer put into a Python list. Here the question is a task with a schema: each answer is JSON, every feature
# names the finding of the report that it stands for, and a check drops what names no part of a waveform, what stands in
# the report already, and findings the report does not have. The default back end is the knowledge base of this
# project: it finds the diagnoses in the report, with negation, and lists the curated features of each, the same for
# every patient with that report. It invents nothing, so here the check has only the second kind of error to find.

# %%
proposals = fine_grained.propose(reports, backend)
asked = {"back end": proposals.asked["model"]["model"]}
asked |= {key: proposals.asked[key] for key in fine_grained.OUTCOMES}
per_report = [len(features) for features in proposals.of_report.values()]
print(report_tasks.FEATURES.instructions)
pd.Series(asked | {"distinct features": len(proposals.features), "features per report": np.mean(per_report).round(1)})

# %% [markdown]
# ## Check
#
# Equation 8, with the learned scale and bias: $P = \sigma(e^t\,\mathrm{sim}(e_p, t_p) + b)$ for an ECG $e_p$ and a
# feature $t_p$. Every distinct feature is embedded once and every ECG encoded once. The histogram shows all proposals.
# Probabilities look small because the loss asks which *one* of the $B$ texts of a batch belongs to an ECG: a text that
# is no better than the others deserves $1/B$. The default threshold is twice that, with the paper's batch of 100; the
# pre-training chapter says how it was chosen. Figure 7 of the paper shows ECGs found with $P > 0.99$, after ten million
# pairs seen.

# %%
checked = fine_grained.verify(clep, store, reports, proposals)
kept = checked.kept(cut)
figure = Figure(figsize=(figures.WIDTH_IN, 2.8), layout="constrained")
axes = figure.subplots()
floor = max(float(checked.probability.min(initial=1.0)), 1e-6)
axes.hist(checked.probability, bins=np.geomspace(floor, 1, 60), color=figures.COLORS["fg_clep"])
axes.axvline(cut, color=figures.INK, linestyle="--", label=f"threshold {cut:g}")
axes.set(xscale="log", xlabel="probability P of a proposed feature", ylabel="features")
axes.legend()
run.save_figure(figure, "probabilities")
print(f"kept {kept.sum():,} of {len(kept):,} proposals; above 0.99: {(checked.probability > 0.99).sum():,}")
figures.show(figure)

# %% [markdown]
# ## Examples
#
# Three records with features on both sides of the threshold. "True" is what the simulator measured; a dash stands where
# its measurements do not decide, as for notches, Q waves or ectopic beats.

# %%
simulated = dataset == "simulated"
verdicts = [wt.truth(feature, store.records) if simulated else None for feature in checked.features]
table = pd.DataFrame({"record": checked.record, "feature": checked.feature, "P": checked.probability, "kept": kept})
table["true"] = [
    "–" if verdicts[f] is None else "yes" if verdicts[f][r] else "no"
    for r, f in zip(checked.record, checked.feature, strict=True)
]
table["feature"] = [checked.features[f] for f in checked.feature]
run.save_table(table, "features")
both_sides = table.groupby("record").filter(lambda of: of.kept.nunique() == 2 and (of["true"] != "–").any())
for record in both_sides.record.unique()[:3]:
    print(f"\n{reports[record]}")
    print(table[table.record == record].drop(columns="record").round(4).to_string(index=False))

# %%
record = int(both_sides.record.iloc[0]) if len(both_sides) else 0
extended = fine_grained.extend(reports, checked, cut)
chapters.show_ecg(store, record, "A fine-grained report", extended[record])

# %% [markdown]
# ## Known truth: are kept features true?
#
# A feature such as "PR interval above 200 ms" or "ST elevation in V2 to V4" is held against the simulator's
# measurements. Two comparisons matter. Kept against proposed: does the check raise the share of true features? And
# kept against *kept by lot*: as many of every feature, but from records drawn at random. A filter that only knows which
# features are common reaches that; the difference is what it has seen in the ECG. Where an interval of the difference
# holds 0, the check has shown nothing.

# %%
metrics = []
agreement = wt.agreement(checked, store.records, cut, repeats=n_bootstrap, seed=seed) if simulated else None
if simulated:
    run.save_table(agreement.rename_axis("features"), "agreement")
    usual = {"dataset": "mimic-iv-ecg", "data_kind": kind, "metric": "true_features"}
    for name, row in agreement.dropna().iterrows():
        entry = {"setting": f"waveform features, {name}", "value": row["true"], "n": int(row["pairs"])}
        interval = {"ci_low": row.ci_low, "ci_high": row.ci_high, "evaluator_version": ev.EVALUATOR_VERSION}
        metrics.append({"method": "chance" if name == "kept by lot" else "clep", **usual, **entry, **interval})
agreement.round(1) if simulated else "real records do not say which features are true"

# %% [markdown]
# ## Does the second stage know waveform features?
#
# The other reading of the same truth. Every feature that the measurements decide, with at least ten records on either
# side, is given as a prompt to both stages, over *all* records, as in a zero-shot task: the macro AUC says how well
# ECGs that have it are ranked above those that do not. This is the claim of figures 5 and 7 in a number. Random scores
# and an untrained network stand beside it.

# %%
names, labels = wt.decided(checked.features, store.records) if simulated else ([], None)
if names:
    models = {"clep": clep, "fg_clep": fg_clep, "random-encoder": pretrain.rebuild(fg_clep, zero_shot.UNTRAINED_SEED)}
    setting, patients = "waveform features as prompts", store.records["patient"]
    found = {}
    for method, model in models.items():
        scores = ev.score_records(model, store, [[name] for name in names])
        auc = ev.macro_auc(labels, scores, names, patients, repeats=n_bootstrap, seed=seed)
        found[method] = ev.ZeroShot("mimic-iv-ecg", setting, auc, scores, labels, list(store.records["id"]))
        metrics.append(ev.metric_row(method, kind, found[method]))
    metrics += ev.chance_rows(kind, [found["clep"]], seed=seed)
pd.DataFrame(metrics)[["method", "setting", "value", "ci_low", "ci_high", "n"]].round(1) if metrics else "no truth here"

# %%
per_feature = pd.DataFrame(
    {method: {name: of["auc"] for name, of in found[method].auc.classes.items()} for method in ("clep", "fg_clep")}
    if names
    else {}
)
if names:
    per_feature["difference"] = per_feature.fg_clep - per_feature.clep
    run.save_table(per_feature.rename_axis("feature"), "auc_per_feature")
per_feature.sort_values("difference", ascending=False).round(1) if names else "no truth here"

# %% [markdown]
# ## Try it
#
# * `threshold = 0.0` keeps every proposal, `threshold = 0.05` few. Does the share of true ones move?
# * `backend = "http://localhost:8000/v1#<model>"` asks a language model; its answers are kept on disk. Its features
#   have their own wording, and those that the truth can read are counted.
# * `checkpoint` with the folder of a model from the chapter before: InfoNCE, another $\lambda$, another encoder.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/fg_clep_pretrain/fg_clep_pretrain>`.

# %%
written = run.record(
    metrics,
    data={"held-out": data_entry(kind, store, "test"), "pretrain": made_by["data"]},
    model=clep.config,
    training=made_by["training"],
    checkpoint_choice="last step of stage 1",
    notes=f"{fine_grained.outcome(proposals.asked)}; threshold {cut:g}; {kept.sum()} of {len(kept)} kept",
)
