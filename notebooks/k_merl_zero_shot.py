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
# # K-MERL: zero-shot classification from any leads
#
# K-MERL does not compare an ECG with a sentence. It asks its query network for a class by its plain name, as it was
# asked in training for the entities of the reports, and the answer is a probability. Nothing is fitted, no prompt is
# written. And since every token belongs to a lead, it can be asked about an ECG of any leads. {cite:t}`k_merl` report a
# macro AUC of **76.52** on average over six tasks with twelve leads and **71.61** with one (table 2; figures 4 and 6
# have no numbers in the text).

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter, default |
# |---|---|---|
# | model | pre-trained on MIMIC-IV-ECG | pre-trained on simulated ECGs, in the chapter before |
# | scored on | PTB-XL (four tasks), CPSC2018, CSN | simulated counterparts, or real records (`dataset`, `data_root`) |
# | classes by | their names | their names; clinical prompts beside them |
# | leads | 1 to 12, in the order of figure 6 | all, and the numbers in `lead_counts` |
# | machine | A100 | two CPU cores, about five minutes |
# | left out | | MERL's curves in figure 6, which the MERL chapters make |
#
# A score on simulated ECGs says that the method works, not how well it would read real ones. Every number says which it
# is.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated test records, untrained networks and the bootstrap
dataset: str = "simulated"  # simulated, ptb-xl, cpsc2018 or csn: the records to score
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
checkpoint: str = ""  # folder written by save_pretrained; empty: this profile's, trained first if there is none
results_dir: str = "results"  # where figures, tables and the run record go
leads: str = "all"  # leads to use: all, or some by name as in "I,II,V5"
lead_counts: str = "1,2,3,6"  # also score the first so many leads of figure 6; empty: none
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from ecglib import chapters, datasets, figures
from ecglib import evaluate as ev
from ecglib.chapters import zero_shot
from ecglib.errors import ParameterError
from ecglib.papers import k_merl
from ecglib.run import start
from ecglib.signals import parse_leads

run = start("k_merl_zero_shot", globals(), choices={"dataset": zero_shot.SCORABLE})
added = parse_leads("I,II,III,aVF,aVR,aVL,V1,V2,V3,V4,V5,V6")  # section 4.2, partial lead setting
numbers = [part.strip() for part in lead_counts.split(",") if part.strip()]
if wrong := [part for part in numbers if part not in map(str, range(1, 12))]:
    raise ParameterError(f"lead_counts = {lead_counts!r}: {', '.join(wrong)} is no number of leads from 1 to 11")
if len(set(numbers)) < len(numbers):
    raise ParameterError(f"lead_counts = {lead_counts!r} names a number twice: once is enough")

# %% [markdown]
# ## Model
#
# A folder with `model.safetensors` and `config.json`. It loads strictly: a missing or surplus weight, another paper's
# checkpoint or another text encoder is an error. The entity table it was trained on is not needed to score: the query
# network has one classifier for whatever it is asked.

# %%
subject = zero_shot.subject(run, "k_merl")
subject.described()

# %% [markdown]
# ## Data
#
# Six tasks from three sets; a record without any label of a task takes no part in it. The paper follows MERL's splits;
# the counts of its table 3 stand beside those scored here.

# %%
zero_shot.task_table(subject, "k_merl", "table-3")

# %% [markdown]
# ## Class names
#
# The paper asks for "the original category names from the dataset". Those are codes, so each is spelled out once.
# Beside them stand clinical prompts, as the other chapters use them; of several prompts the mean of their vectors is
# asked. An entity that was asked in training may well be a class here: the paper counts 35 of its 277 as *seen*. The
# table says for how many classes of each task the very name was among the entities of this model.

# %%
both = zero_shot.prompt_sets(subject)
names, clinical = "zero-shot, class names", "zero-shot, clinical prompts"
prompts = {names: both[names], clinical: both[clinical]}
asked = {name.lower() for name in subject.model.entities.entities} if subject.model.entities else set()
overlap = {
    task: {"classes": len(of), "named in training": sum(name.lower() in asked for (name,) in of.values())}
    for task, of in prompts[names].items()
}
pd.DataFrame(overlap).T

# %% [markdown]
# ## Score
#
# With $z_e$ the tokens of the leads that are there and $\mathbf q_c$ the text encoder's vector of a class name,
#
# $$\mathrm{score}_c = \mathcal F_{CQ}(\mathbf q_c, z_e), \qquad
# \mathrm{AUC}_c = P(\mathrm{score}_c^+ > \mathrm{score}_c^-) + \tfrac12 P(\mathrm{score}_c^+ = \mathrm{score}_c^-).$$
#
# The score is a logit; its sigmoid is the probability the paper speaks of and ranks in the same way. A class is
# answered for itself: which others are asked with it changes nothing. The macro AUC is the mean over classes that have
# both positive and negative records. Intervals resample whole patients.

# %%
chapters.source(k_merl.KMERL.ecg_tokens, k_merl.KMERL.score)

# %%
found = zero_shot.score(run, subject, prompts)

# %% [markdown]
# ## From one lead to twelve
#
# Figure 6 adds lead after lead, in the order that the paper gives: I, II, III, aVF, aVR, aVL, V1 to V6. A lead that is
# not there has no tokens; no zeros stand in for it. Training has shown one, two or three leads at a time, so everything
# to the right of three is a number of leads the model has never seen.

# %%
partial, points = [], [(12, r) for r in found if r.setting == names and leads == "all"]
for n in map(int, numbers):
    ask = {f"{names}, {n} lead" + "s" * (n > 1): prompts[names]}
    options = {"repeats": n_bootstrap, "seed": seed}
    partial += ev.zero_shot_sets(subject.model, subject.stores, datasets.TASKS_OF, ask, added[:n], **options)
    points += [(n, r) for r in partial[-len(subject.tasks) :]]
curve = pd.DataFrame([{"leads": n, "task": r.task, "auc": r.auc.value} for n, r in points])
if len(curve):
    curve = curve.pivot(index="leads", columns="task", values="auc")
    fig = Figure(figsize=(6.3, 2.6))
    axis = fig.subplots()
    axis.plot(curve.index, curve, color="0.75", linewidth=0.8)
    axis.plot(curve.index, curve.mean(axis=1), marker="o", color=figures.color_of("k_merl"))
    axis.set(xlabel="leads", ylabel="macro AUC (%)", xticks=curve.index, title="Average of the tasks; grey: each task")
    run.save_figure(fig, "lead_curve")
    run.save_table(curve.assign(average=curve.mean(axis=1)).reset_index(), "lead_curve")
    display(figures.show(fig))
curve.round(1)

# %% [markdown]
# ## Known truth: what knows nothing
#
# *Chance* is random scores on the same labels: 50 on average, and its range shows how far luck alone can go with so few
# positives. A *random encoder* is the same network, untrained, asked in the same way with all leads; the range beside
# it is 1.96 standard deviations between networks, not an interval over patients.

# %%
metrics = zero_shot.score_rows(run, subject, prompts, found)
metrics += [ev.metric_row(subject.name, subject.kind, result) for result in partial]
figures.score_table(pd.DataFrame(metrics))

# %% [markdown]
# ## Reported beside reproduced
#
# Table 2 prints the average over the six tasks for one lead and for twelve. Open markers are what the paper reports,
# filled markers what was run here. The verdict is computed: numbers on simulated data or on a subset are never
# comparable with the paper's, however close they lie.

# %%
compared = zero_shot.compared(run, subject, metrics, "k_merl", ["table-2a"])
figures.score_table(compared)

# %% [markdown]
# ## Class by class
#
# The bars are AUCs of single classes, asked by name, with their intervals; the number of positive records stands beside
# each, and where it is below ten the interval says little.

# %%
per_class = zero_shot.class_figures(run, subject, found)

# %% [markdown]
# ## Reading the result

# %%
zero_shot.reading(subject, found, metrics, per_class)

# %% [markdown]
# ## Try it
#
# * `leads = "V1,V2,V3"` scores from the right chest alone. Which classes survive?
# * `lead_counts = "1,2,3,4,5,6,7,8,9,10,11"` draws the whole of figure 6.
# * `checkpoint` with the folder of an ablated model from the last chapter gives a row of tables 2, 6b or 6c.
# * `dataset = "ptb-xl"` with `data_root` scores real ECGs with the same weights.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/k_merl_pretrain/k_merl_pretrain>`.

# %%
zero_shot.record(run, subject, found + partial, metrics)
