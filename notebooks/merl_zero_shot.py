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
# # MERL: zero-shot classification
#
# MERL made zero-shot classification of ECGs a benchmark: six tasks, class descriptions written by a language model, one
# cosine per class {cite:p}`merl`. FG-CLEP (table 2) and C-MELT (table 3) quote the same scores: **74.20** on PTB-XL
# Super, **75.70** on Sub, **65.90** on Form, **78.50** on Rhythm, **82.80** on CPSC2018 and **74.40** on CSN; their
# average is DERI's **75.25** (figure 3). DERI's table 14 prints other values for MERL on the four tasks of PTB-XL
# (75.7, 71.1, 62.9 and 71.1), in a comparison with report generation.

# %% [markdown]
# **At a glance**
#
# | | released | this chapter, default |
# |---|---|---|
# | model | pre-trained on MIMIC-IV-ECG | pre-trained on simulated ECGs, in the chapter before |
# | scored on | PTB-XL (four tasks), CPSC2018, CSN | simulated counterparts, or real records (`dataset`, `data_root`) |
# | prompts | CKEPE, 131 answers of a language model | class names, and clinical prompts written for this project |
# | checkpoint | best on labelled validation sets | last step |
# | machine | not given | two CPU cores, about one minute |
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

from ecglib import chapters, figures, results
from ecglib.chapters import zero_shot
from ecglib.papers import merl
from ecglib.run import start

run = start("merl_zero_shot", globals(), choices={"dataset": zero_shot.SCORABLE})

# %% [markdown]
# ## Model
#
# A folder with `model.safetensors` and `config.json`. It loads strictly: a missing or surplus weight, another paper's
# checkpoint or another text encoder is an error. The checkpoint is the last step of pre-training, chosen by no label.

# %%
subject = zero_shot.subject(run, "merl")
subject.described()

# %% [markdown]
# ## Data
#
# Six tasks from three sets. A record without any label of a task takes no part in it. The test counts of MERL's split
# files, as DERI prints them in its table 8, stand beside those scored here. Those files have defects, which
# {ref}`the protocol page <known-defects>` lists: seven of CSN's 38 classes were labelled by a test for substrings, and
# CPSC2018's records are numbered by the listing of one machine's folder. Here classes need their exact codes, and
# records their file names.

# %%
zero_shot.task_table(subject)

# %%
zero_shot.first_record(subject)

# %% [markdown]
# ## Prompts
#
# What a class is called decides how it is scored. MERL asks a language model for sub-types and attributes of a class
# and checks them against a database of terms (CKEPE). The released answers were not curated: that for bigeminy still
# holds the model's reply to its user, ST depression lists ST elevation, and flutter lists fibrillation, which C-MELT
# criticises (its figure 6). Here are two other ways: the plain *class name*, and *clinical prompts*, how a cart would
# print the finding and the waveform behind it. The vector of a class is the mean of its prompts' unit vectors. No real
# record was used in writing them; their hash stands in the run record.

# %%
prompts = zero_shot.prompt_sets(subject)
zero_shot.prompt_table(subject.tasks[0])

# %% [markdown]
# ## Score
#
# With $a$ the pooled and projected encoding of an ECG and $t_p$ the projected encoding of a prompt $p$, scaled to unit
# length,
#
# $$\mathrm{score}_c = \cos\Big(a,\ \tfrac{1}{|P_c|}\sum_{p \in P_c} t_p\Big), \qquad
# \mathrm{AUC}_c = P(\mathrm{score}_c^+ > \mathrm{score}_c^-) + \tfrac12 P(\mathrm{score}_c^+ = \mathrm{score}_c^-).$$
#
# The macro AUC is the mean over classes that have both positive and negative records; the others are named. Intervals
# resample whole patients. The released code also prints F1 and accuracy, with the threshold that is best on the *test*
# set; they are left out here.

# %%
chapters.source(merl.MERL.encode_ecg, merl.MERL.encode_text, merl.MERL.score)

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
# What FG-CLEP and DERI quote for MERL, and this run, each with its interval where there is one. Open markers are what
# is printed, filled markers what was run here. The verdict is computed: numbers on simulated data or on a subset are
# never comparable with printed ones, however close they lie.

# %%
printed = results.reported("merl").query("setting == 'zero-shot'")
compared = zero_shot.beside(run, subject, metrics, printed[printed["exhibit"].isin(merl.CARD.exhibits)])
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
# * `leads = "I"` scores from one lead, the others set to zero, which MERL was never trained for. K-MERL's figure 6 is
#   about this. Which classes survive?
# * `seed = 1` trains and scores with another seed. What moves by less than the interval is noise.
# * `checkpoint` with the folder of the ViT, or of a model without `uma`, gives that model a row of its own.
# * `dataset = "ptb-xl"` with `data_root` scores real ECGs with the same weights.
#
# Deviations from what is printed and released stand in
# {doc}`the pre-training chapter </results/merl_pretrain/merl_pretrain>`.

# %%
zero_shot.record(run, subject, found, metrics)
