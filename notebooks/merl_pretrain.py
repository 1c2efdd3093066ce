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
# # MERL: pre-training
#
# Multimodal ECG Representation Learning (MERL) is what the five papers of this book compare with and take their
# benchmark from {cite:p}`merl`. An ECG and its report are aligned by contrast, and the ECG is aligned with itself: its
# embedding is sent twice through dropout, and the two views must find each other among those of other patients. That is
# the whole method. The number to reach is the one that others quote: a zero-shot macro AUC of 75.25 on average over six
# tasks, where DERI reports 78.73 {cite:p}`deri`.
#
# MERL's own paper was not read for this project. What is said here comes from the five papers and from the released
# code, and the [deviations](#deviations-merl) say which.
# {doc}`The next chapter </results/merl_zero_shot/merl_zero_shot>` scores the model.

# %% [markdown]
# **At a glance**
#
# | | released | this chapter by default |
# |---|---|---|
# | pairs | MIMIC-IV-ECG, 771,693 at 500 Hz | simulated, at 100 Hz; real ones with `dataset` and `data_root` |
# | ECG encoder | ResNet18-1D or ViT-tiny, random start | the ResNet, half the width; the ViT with `ecg_encoder` |
# | report encoder | MedCPT, frozen | MiniLM, frozen |
# | machine | eight GPUs | two CPU cores, one and a half to two minutes |
# | left out | | nothing of the method; the released input scaling and lead order by position |
#
# `profile` chooses the scale. With `gpu` and `paper` the network has the released size. Every parameter can be given on
# the command line, `papermill notebooks/merl_pretrain.ipynb -p ecg_encoder vit_tiny`, or changed below in JupyterLab.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper (the released schedule)
seed: int = 0  # of weights, order of records and dropout
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the pairs to learn from
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where checkpoint, figures, tables and the run record go
n_records: int = 0  # pairs to train on; 0: the profile's number
epochs: int = 0  # passes over the pairs; 0: the profile's number
processes: int = 0  # processes to train on; 0: one per GPU, or one
ecg_encoder: str = "resnet18"  # resnet18 or vit_tiny: both were released (K-MERL's table 1 has a row for each)
terms: str = "cma,uma"  # alignments to keep: of ECG and report, of the ECG with itself
uma_views: str = "dropout"  # dropout (two masks of one embedding) or linear (a layer each, as released)
dropout: float = 0.1  # of the two views
temperature: float = 0.07  # of both alignments

# %%
import math

import pandas as pd

from ecglib import chapters, losses, pretrain
from ecglib.chapters import pretraining
from ecglib.papers import merl
from ecglib.run import start

run = start("merl_pretrain", globals(), choices={"dataset": pretraining.LEARNABLE, **merl.CHOICES})
changes = {
    "ecg_encoder": ecg_encoder,
    "terms": tuple(term.strip() for term in terms.split(",")),
    "uma_views": uma_views,
    "dropout": dropout,
    "temperature": temperature,
}
merl.check(merl.Config(**changes))

# %% [markdown]
# ## Data
#
# MERL kept 771,693 of the 800,035 records of MIMIC-IV-ECG: those whose report has at least four words. That set cannot
# be shipped. The default here is the project's simulator, whose reports are written in the manner of cart reports. With
# `dataset` and `data_root` the same cells read real records, of which folds 1 to 8 train.
#
# What enters the network differs from the released code on purpose. There every record is stretched to a range of
# 1,000 steps between its own least and greatest sample; here samples stay millivolts, since a tall R wave is a finding.
# Leads go by name, patients are never on both sides of a split, and a missing sample does not blank its record.

# %%
pairs = pretraining.pairs(run)
pretraining.counts(pairs, {"records": "771,693", "sampling rate": "500 Hz"})

# %% [markdown]
# One pair of the training set, on the paper a cardiologist reads: 25 mm/s along, 10 mm/mV up.

# %%
pretraining.show_pair(pairs)

# %% [markdown]
# ## Method
#
# An encoder turns the ECG $e_i$ into tokens $z_i \in \mathbb{R}^{L \times D}$ (`ecg_tokens`). They are read twice. A
# pooling with a projector gives the vector $a_i$ that meets the report (`project_e`): behind the ResNet a learned query
# attends to all tokens, with four heads; behind the ViT the mean of the tokens goes through two layers. The plain mean
# $\bar z_i$ gives two views, by two draws $m, m'$ of a dropout mask with rate $p = 0.1$ (`latent_views`):
#
# $$\bar z_i^{(1)} = \frac{m_i \odot \bar z_i}{1-p}, \qquad \bar z_i^{(2)} = \frac{m'_i \odot \bar z_i}{1-p}.$$
#
# With `uma_views = "linear"` each view has a linear layer of its own before its dropout, as in the released code. The
# report's vector comes from a frozen text encoder and two layers with GELU, $t_i$ (`project_t`). Both terms are the
# symmetric contrastive loss between matched rows of a batch of $B$, with cosine similarity $s$ and temperature $\tau$:
#
# $$\mathcal{L}(x, y) = -\frac{1}{2B}\sum_{i=1}^{B}\left[\log\frac{e^{s(x_i,y_i)/\tau}}{\sum_k e^{s(x_i,y_k)/\tau}}
# + \log\frac{e^{s(x_i,y_i)/\tau}}{\sum_k e^{s(x_k,y_i)/\tau}}\right]$$
#
# | term | $x$, $y$ | name |
# |---|---|---|
# | cross-modal alignment | $a_i$, $t_i$ | `cma` |
# | uni-modal alignment | $\bar z_i^{(1)}$, $\bar z_i^{(2)}$ | `uma` |
#
# The total is their sum. The released code adds the two directions where this takes their mean; to AdamW that is the
# same but for the clipping of gradients.

# %%
model = pretrain.build_model("merl", profile, seed, **changes)
parts = {"ECG encoder": model.ecg_encoder, "pooling": model.project_e, "all that learns": model}
released = {"ECG encoder": {"resnet18": "3,853,962, of which 5,130 unused", "vit_tiny": "5.47 million"}[ecg_encoder]}
chapters.sizes(parts, printed=released)

# %% [markdown]
# The ResNet of the released code carries a ten-class head that nothing uses; without it the counts are equal, in the
# profiles that have the released size. This is the whole training objective, shown from the package:

# %%
chapters.source(merl.MERL.losses, merl.MERL.latent_views, losses.info_nce)

# %% [markdown]
# ## Known truth before training
#
# An untrained model knows nothing of pairs, so `cma` starts near $\log B$, a little above it because $\tau = 0.07$
# magnifies small differences. For `uma` theory gives a range. Two masks of one vector leave a cosine of about $1 - p$
# with itself, and $(1 - p)\,s$ with a vector that had cosine $s$ before. Were all embeddings alike the loss would be
# $\log B$; were they at right angles,
#
# $$\log\left(1 + (B - 1)\, e^{-(1-p)/\tau}\right).$$
#
# An untrained encoder gives embeddings that are nearly alike, and the start lies between the two. A term outside would
# mean a broken composition, and the reader would know before spending an hour.

# %%
schedule = pretraining.schedule(run, "merl", len(pairs.store))
log_b = dict.fromkeys(model.config.terms, math.log(schedule.batch_size))
least = math.log(1 + (schedule.batch_size - 1) * math.exp(-(1 - dropout) / temperature))
print(f"uma between {least:.4f} and {math.log(schedule.batch_size):.2f}")
pretraining.at_the_start(model, pairs, schedule, theory=log_b)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The state is saved every minute: a run that is killed goes on
# where it was, and on a CPU it ends with the same weights, bit for bit, as one that never stopped. The last step is
# taken. (The released code keeps the epoch that scores best on the *labelled* validation sets of the six tasks, 9,704
# records, and calls the result zero-shot.)

# %%
trained = pretraining.train(run, model, pairs, schedule, reference=log_b)

# %% [markdown]
# ## What has been learned
#
# The loss says how well the batches it saw were told apart. A better question: given a *new* ECG, is its own report
# among the ten nearest of all distinct reports of the held-out pairs? Every distinct report counts once, so that a
# ranking by mere frequency gains nothing; chance is ten divided by their number. For real data the held-out pairs are
# of fold 10, at most a thousand, whose patients were not seen in training.

# %%
metrics = pretraining.held_out_retrieval(trained, pairs)
print(metrics[0]["setting"])
pd.DataFrame(metrics)[["method", "metric", "value", "ci_low", "ci_high", "n"]].round(1)

# %% [markdown]
# ## The released schedule beside this run
#
# Two schedules go under MERL's name. The released configuration is the one below and in the `paper` profile. K-MERL,
# "following MERL", prints AdamW with 2e-4, weight decay 1e-5, 50 epochs and 8 x 512 pairs a step.

# %%
released = {"epochs": 20, "records per step": 8 * 128, "peak learning rate": 1e-3, "weight decay": 1e-8}
chapters.schedules(released, schedule, "released code")

# %% [markdown]
# ## Try it
#
# * `ecg_encoder = "vit_tiny"`: the second released encoder. K-MERL's table 1 has it one to seven points below the
#   ResNet in linear probing.
# * `terms = "cma"` is plain contrastive alignment. Score it in the next chapter by giving the new checkpoint's folder
#   (named in the last line below) as `checkpoint`.
# * `uma_views = "linear"` is the released form. Its start is higher: two layers that differ make two views that differ.
# * `dropout = 0.5`: the views share less, and the least that `uma` can reach rises.
# * `dataset = "ptb-xl"` with `data_root` trains on real records.

# %% [markdown]
# (deviations-merl)=
# ## Deviations

# %%
chapters.deviations(merl.DEVIATIONS)

# %% [markdown]
# The record of this run is written last: parameters, data fingerprint, commit, machine and the numbers above.

# %%
pretraining.record(run, trained, pairs, metrics)
