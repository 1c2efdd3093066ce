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
# # FG-CLEP: zero-shot classification
#
# Table 2 of the paper has four rows of its own: the first-stage model CLEP and the second-stage model FG-CLEP, each
# with plain class names and with the *12-lead ensemble* (ENS), in which a class is also looked for lead by lead
# {cite:p}`fg_clep`. On average over six tasks it prints 79.92 for CLEP and **82.27** for FG-CLEP, without ensemble. The
# largest gain of the ensemble is on PTB-XL Form, where FG-CLEP rises from 67.77 to 70.79 and CLEP falls from 66.29 to
# 64.74: a model that knows in which lead a wave stands is helped, the paper reads, and one that does not is harmed.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter, default |
# |---|---|---|
# | models | CLEP and FG-CLEP, pre-trained on MIMIC-IV-ECG | both, from the pre-training chapter |
# | scored on | PTB-XL (four tasks), CPSC2018, CSN | simulated counterparts, or real records (`dataset`, `data_root`) |
# | splits | CPSC2018 and CSN with 51 classes, of its own | the six tasks that the other papers share; CSN with 38 |
# | prompts | the class name; ENS adds "name in lead x" | the same, and clinical prompts written for this project |
# | machine | two A800 | two CPU cores, two to three minutes |
# | left out | | MERL's row: it has a chapter of its own |

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated test records, untrained networks and the bootstrap
dataset: str = "simulated"  # simulated, ptb-xl, cpsc2018 or csn: the records to score
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
checkpoint: str = ""  # folder that fg_clep_pretrain made; empty: this profile's, trained first if there is none
results_dir: str = "results"  # where figures, tables and the run record go
leads: str = "all"  # leads to use: all, or some by name as in "I,II,V5"
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import dataclasses

import pandas as pd
from IPython.display import display

from ecglib import chapters, figures, results
from ecglib import evaluate as ev
from ecglib.chapters import zero_shot
from ecglib.papers.fg_clep import FGCLEP
from ecglib.run import start

run = start("fg_clep_zero_shot", globals(), choices={"dataset": zero_shot.SCORABLE})

# %% [markdown]
# ## Models
#
# FG-CLEP's folder holds the first stage too. Both load strictly: a missing or surplus weight, another paper's
# checkpoint or another text encoder is an error. Both are the last step of their stage, never chosen by a score.

# %%
subject = zero_shot.subject(run, "fg_clep")
first, first_record = zero_shot.earlier_stage(run, "fg_clep", "stage-1")
stage_1 = dataclasses.replace(subject, model=first, made_by=first_record)
pd.concat({"FG-CLEP": subject.described()["model"], "CLEP": stage_1.described()["model"]}, axis=1)

# %% [markdown]
# ## Data
#
# Six tasks from three sets; a record without any label of a task takes no part in it. The paper's counts are those of
# its table 1. Its CPSC2018 and CSN splits are its own (CSN with 51 classes), so those two columns of its table do not
# compare with other papers, nor with this run.

# %%
display(zero_shot.task_table(subject, "fg_clep", "table-1"))
zero_shot.first_record(subject)

# %% [markdown]
# ## Prompts and the 12-lead ensemble
#
# The class name alone is the paper's prompt. The ensemble adds "name in lead I" to "name in lead V6" and takes the
# *highest* of the thirteen probabilities. With several prompts for a class, each of the thirteen versions is the mean
# of their unit vectors. Equation 8 grows with the cosine, so the highest cosine is the highest probability:
#
# $$\mathrm{score}_c = \max_{v \in \{\text{no lead}, I, \dots, V6\}} \cos\big(e_p,\ t_{p,c,v}\big)$$

# %%
prompts = zero_shot.prompt_sets(subject)
names = prompts["zero-shot, class names"]
ensemble = {"zero-shot, class names, lead ensemble": names}
chapters.source(FGCLEP.versions, FGCLEP.score)
zero_shot.prompt_table(subject.tasks[0])

# %% [markdown]
# ## Score
#
# The four rows of table 2, and both models with clinical prompts. Nothing is fitted and no threshold is chosen.
# Intervals resample whole patients.

# %%
found = zero_shot.score(run, subject, prompts)
of_stage_1 = zero_shot.score(run, stage_1, prompts)
in_each_lead = {
    of.name: zero_shot.score(run, dataclasses.replace(of, model=of.model.scored_with(lead_ensemble=True)), ensemble)
    for of in (subject, stage_1)
}

# %% [markdown]
# ## Known truth: what knows nothing
#
# *Chance* is random scores on the same labels; a *random encoder* is the same network, untrained, scored in the same
# way, as the mean of a few networks with 1.96 standard deviations between them.

# %%
clep = subject.name.replace("fg_clep", "clep", 1)
metrics = zero_shot.score_rows(run, subject, prompts, found)
metrics += [ev.metric_row(clep, subject.kind, result) for result in [*of_stage_1, *in_each_lead[stage_1.name]]]
metrics += [ev.metric_row(subject.name, subject.kind, result) for result in in_each_lead[subject.name]]
metrics += ev.chance_rows(subject.kind, in_each_lead[subject.name], seed=seed)
run.save_table(pd.DataFrame(metrics), "metrics")
figures.score_table(pd.DataFrame(metrics))

# %% [markdown]
# ## Reported beside reproduced
#
# One figure without and one with the ensemble; open markers are what the paper prints, filled markers what was run
# here. The verdict is computed: numbers on simulated data or on a subset are never comparable with the paper's, however
# close they lie. CLEP's mean is also the row "without fine-grained reports" of table 4.

# %%
printed = results.reported("fg_clep").query("exhibit in ('table-2', 'table-4') and origin == 'own'")
compared = results.compare(printed, run.as_runs(metrics, zero_shot.used_data(subject)))
for setting, rows in compared.query("exhibit == 'table-2'").groupby("setting"):
    fig = figures.reported_vs_reproduced(rows)
    run.save_figure(fig, "reported_vs_reproduced" + ("_ensemble" if "ensemble" in setting else ""))
    display(figures.show(fig))
figures.score_table(compared)

# %% [markdown]
# ## What the second stage and the ensemble change
#
# Differences in macro AUC, in points. Both were scored on the same records, so the intervals above, which do not know
# that, are wider than those of a difference would be. The second stage also had more steps than the first.

# %%
table = pd.DataFrame(metrics).pivot_table(index="dataset", columns=["method", "setting"], values="value", sort=False)
plain, each = "zero-shot, class names", "zero-shot, class names, lead ensemble"
effects = pd.DataFrame(
    {
        "second stage, class names": table[subject.name, plain] - table[clep, plain],
        "ensemble, CLEP": table[clep, each] - table[clep, plain],
        "ensemble, FG-CLEP": table[subject.name, each] - table[subject.name, plain],
    }
)
effects.loc["average"] = effects.mean()
run.save_table(effects, "effects")
effects.style.format("{:+.1f}").set_uuid("effects")

# %% [markdown]
# ## Class by class
#
# The bars are AUCs of single classes with their intervals; the number of positive records stands beside each, and where
# it is below ten the interval says little.

# %%
per_class = zero_shot.class_figures(run, subject, found)

# %%
zero_shot.reading(subject, found, metrics, per_class)

# %% [markdown]
# ## Try it
#
# * `leads = "I"` scores from one lead, the others set to zero. What does an ensemble over twelve leads do then?
# * `checkpoint` with the folder of another model of the pre-training chapter gives a row of tables 4 to 7.
# * `dataset = "ptb-xl"` with `data_root` scores real ECGs with the same weights.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/fg_clep_pretrain/fg_clep_pretrain>`.

# %%
everything = [*found, *in_each_lead[subject.name]]
zero_shot.record(run, subject, everything, metrics)
