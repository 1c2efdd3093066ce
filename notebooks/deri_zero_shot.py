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
# # DERI: zero-shot classification
#
# Can a model that learned from reports name a diagnosis it was never given as a label? Each class is described in
# words, the words are embedded, and an ECG is scored by its cosine with them. Nothing is fitted and no threshold is
# chosen. {cite:t}`deri` report a macro AUC of **78.73** on average over six tasks, against **75.25** for MERL
# (figure 3, dotted lines; the bars of the six tasks have no numbers in the text).

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter, default |
# |---|---|---|
# | model | pre-trained on MIMIC-IV-ECG | pre-trained on simulated ECGs, in the chapter before |
# | scored on | PTB-XL (four tasks), CPSC2018, CSN | simulated counterparts, or real records (`dataset`, `data_root`) |
# | prompts | CKEPE | plain class names, and clinical prompts written for this project |
# | machine | one RTX 4090 | two CPU cores, about one minute |
# | left out | | MERL's row, which needs its own pre-training |
#
# A score on simulated ECGs says that the method works, not how well it would read real ones. Both are run here, and
# every number says which it is.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated test records, untrained networks and the bootstrap
dataset: str = "simulated"  # simulated, ptb-xl, cpsc2018 or csn: the records to score
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
checkpoint: str = ""  # folder written by save_pretrained; empty: this profile's, trained first if there is none
results_dir: str = "results"  # where figures, tables and the run record go
leads: str = "all"  # leads to use: all, or some by name as in "I,II,V5"
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import pandas as pd

from ecglib import chapters, figures
from ecglib.chapters import zero_shot
from ecglib.papers import deri
from ecglib.run import start

run = start("deri_zero_shot", globals(), choices={"dataset": zero_shot.SCORABLE})

# %% [markdown]
# ## Model
#
# A folder with `model.safetensors` and `config.json`. It loads strictly: a missing or surplus weight, another paper's
# checkpoint or another text encoder is an error. The checkpoint is the last step of pre-training. (The released code of
# MERL and DERI instead keeps the epoch with the best zero-shot score on 9,704 *labelled* validation records of the very
# tasks to be scored.)

# %%
subject = zero_shot.subject(run, "deri")
subject.described()

# %% [markdown]
# ## Data
#
# Six tasks from three sets. A record without any label of a task takes no part in it. The counts of the paper's test
# sets (its table 8) stand beside those scored here.

# %%
zero_shot.task_table(subject)

# %%
zero_shot.first_record(subject)

# %% [markdown]
# ## Prompts
#
# Two ways to say a class. Its *name*, which needs no thought and is what K-MERL feeds its query network. And *clinical
# prompts*: how a cart would print the finding, and the waveform behind it. The vector of a class is the mean of its
# prompts' unit vectors. No real record was used in writing them; their hash stands in the run record.

# %%
prompts = zero_shot.prompt_sets(subject)
zero_shot.prompt_table(subject.tasks[0])

# %% [markdown]
# ## Score
#
# With $\hat M^e$ the mixed encoding of an ECG (from the ECG alone) and $\hat a_p$ the projected encoding of a prompt
# $p$, scaled to unit length,
#
# $$\mathrm{score}_c = \cos\Big(\hat M^e,\ \tfrac{1}{|P_c|}\sum_{p \in P_c} \hat a_p\Big), \qquad
# \mathrm{AUC}_c = P(\mathrm{score}_c^+ > \mathrm{score}_c^-) + \tfrac12 P(\mathrm{score}_c^+ = \mathrm{score}_c^-).$$
#
# The macro AUC is the mean over classes that have both positive and negative records; the others are named. Intervals
# resample whole patients. Every record is encoded once for all tasks and prompts together.

# %%
chapters.source(deri.DERI.encode_ecg, deri.DERI.score)

# %%
found = zero_shot.score(run, subject, prompts)

# %% [markdown]
# ## Known truth: what knows nothing
#
# Two rows keep the table honest. *Chance* is random scores on the same labels: 50 on average, and its range shows how
# far luck alone can go with so few positives. A *random encoder* is the same network, untrained, scored in the same
# way. Its features follow the signal, so one network can land well above or below 50 by accident of its prompts; the
# mean over very many would be 50, the mean over the few here may miss it by some points. The range beside it is 1.96
# standard deviations between networks, not an interval over patients.

# %%
metrics = zero_shot.score_rows(run, subject, prompts, found)
figures.score_table(pd.DataFrame(metrics))

# %% [markdown]
# ## Reported beside reproduced
#
# The paper's average and this run's, each with its interval where there is one. Open markers are what a paper reports,
# filled markers what was run here. The verdict is computed: numbers on simulated data or on a subset are never
# comparable with the paper's, however close they lie.

# %%
compared = zero_shot.compared(run, subject, metrics, "deri", ["figure-3"])
figures.score_table(compared)

# %% [markdown]
# ## Class by class
#
# A macro mean hides which diagnoses carry it. The bars are AUCs of single classes with their intervals; the number of
# positive records stands beside each, and where it is below ten the interval says little.

# %%
per_class = zero_shot.class_figures(run, subject, found)

# %% [markdown]
# ## Reading the result

# %%
zero_shot.reading(subject, found, metrics, per_class)

# %% [markdown]
# ## Try it
#
# * `leads = "I"` scores from one lead, the others set to zero. Which classes survive?
# * `seed = 1` trains and scores with another seed. What moves by less than the interval is noise.
# * `checkpoint` with the folder of an ablated model from the last chapter gives a row of tables 4 to 6, or of table 7
#   the one without shared embedding.
# * `dataset = "ptb-xl"` with `data_root` scores real ECGs with the same weights.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/deri_pretrain/deri_pretrain>`.

# %%
zero_shot.record(run, subject, found, metrics)
