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
# # C-MELT: zero-shot classification
#
# A diagnosis is put into words, the words are embedded, and an ECG is scored by its cosine with them; no label is used.
# {cite:t}`c_melt` report a macro AUC of **77.1** on average over six sets, against **75.3** for MERL (table 3; the
# printed cells average to 77.2). Their prompts are descriptions by GPT-4o. With category names alone the average is
# **72.5** (tables 6 to 8), a gap that says how much of a zero-shot score is the wording.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter, default |
# |---|---|---|
# | model | pre-trained on MIMIC-IV-ECG | pre-trained on simulated ECGs, in the chapter before |
# | scored on | PTB-XL (four sets), CPSC2018, CSN, CODE-test | simulated counterparts of six of them, or real ones |
# | prompts | GPT-4o; category names in ablations | clinical prompts written for this project; plain class names |
# | machine | one H100 | two CPU cores, about one minute |
# | left out | | CODE-test (table 5), MERL's row, which has chapters of its own |
#
# A score on simulated ECGs says that the method works, not how well it would read real ones.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated test records, untrained networks and the bootstrap
dataset: str = "simulated"  # simulated, ptb-xl, cpsc2018 or csn: the records to score
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
checkpoint: str = ""  # folder written by save_pretrained; empty: this profile's, trained first if there is none
results_dir: str = "results"  # where figures, tables and the run record go
leads: str = "all"  # leads to use: all, or some by name as in "I,II,V2"
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import pandas as pd

from ecglib import chapters, figures
from ecglib.chapters import zero_shot
from ecglib.papers import c_melt
from ecglib.run import start

run = start("c_melt_zero_shot", globals(), choices={"dataset": zero_shot.SCORABLE})

# %% [markdown]
# ## Model
#
# A folder with `model.safetensors` and `config.json`, loaded strictly. Decoders and fusion travel along but take no
# part: what scores is the ECG encoder with $g_x$ and the text encoder with $g_t$. The checkpoint is the last step of
# pre-training, never one chosen on the sets below.

# %%
subject = zero_shot.subject(run, "c_melt")
subject.described()

# %% [markdown]
# ## Data
#
# Six tasks from three sets. A record without any label of a task takes no part in it. The counts of the paper's test
# sets (its table 9) stand beside those scored here.

# %%
zero_shot.task_table(subject, "c_melt", "table-9")

# %%
zero_shot.first_record(subject)

# %% [markdown]
# ## Prompts
#
# The paper asks GPT-4o to "describe each term clinically"; the released file holds 89 texts and misses 28 of the
# class-and-task pairs scored here, so table 3 cannot be run again from it. In its place stand *clinical prompts* of
# this project: how a cart would print the finding, and the waveform behind it. Plain *class names* are the setting of
# the paper's ablations. Both were fixed before any scoring.

# %%
prompts = zero_shot.prompt_sets(subject)
zero_shot.prompt_table(subject.tasks[0])

# %% [markdown]
# ## Score
#
# The projection heads, which the Siglep loss trained, give $x'$ and $t'$; both are scaled to unit length here, although
# the loss did not (equation 4 is a bare product):
#
# $$\mathrm{score}_c = \cos\Big(x',\ \tfrac{1}{|P_c|}\sum_{p \in P_c} \tfrac{t'_p}{\lVert t'_p\rVert}\Big), \qquad
# \mathrm{AUC}_c = P(\mathrm{score}_c^+ > \mathrm{score}_c^-) + \tfrac12 P(\mathrm{score}_c^+ = \mathrm{score}_c^-).$$
#
# In training the encoder saw a quarter of the patches and half of the leads; here it sees them all. Intervals resample
# whole patients.

# %%
chapters.source(c_melt.CMELT.encode_ecg, c_melt.CMELT.encode_text, c_melt.CMELT.score)

# %%
found = zero_shot.score(run, subject, prompts)

# %% [markdown]
# ## Known truth: what knows nothing
#
# *Chance* is random scores on the same labels. A *random encoder* is the same network with fresh weights: its features
# follow the signal, so that one network can land above or below 50 by accident; the range beside it is 1.96 standard
# deviations between networks. A trained model that does not clear both has learned nothing that these prompts can ask.

# %%
metrics = zero_shot.score_rows(run, subject, prompts, found)
figures.score_table(pd.DataFrame(metrics))

# %% [markdown]
# ## Reported beside reproduced
#
# Table 3, with intervals where there are any. Open markers are what the paper reports, filled ones what was run here.
# The verdict is computed: numbers on simulated data or on a subset are never comparable with the paper's.

# %%
compared = zero_shot.compared(run, subject, metrics, "c_melt", ["table-3"])
figures.score_table(compared)

# %% [markdown]
# ## Class by class
#
# A macro mean hides which diagnoses carry it. The number of positive records stands beside each bar, and where it is
# below ten the interval says little.

# %%
per_class = zero_shot.class_figures(run, subject, found)

# %% [markdown]
# ## Reading the result

# %%
zero_shot.reading(subject, found, metrics, per_class)

# %% [markdown]
# ## Try it
#
# * `leads = "I,II,V2"` are the three leads of table 1, and `leads = "I"` its single one. Half of the leads were missing
#   in every training step; does that show?
# * `checkpoint` with the folder of a variant from the last chapter gives rows of tables 6 to 8.
# * `seed = 1` trains and scores with another seed. What moves by less than the interval is noise.
# * `dataset = "ptb-xl"` with `data_root` scores real ECGs with the same weights.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/c_melt_pretrain/c_melt_pretrain>`.

# %%
zero_shot.record(run, subject, found, metrics)
