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
# # DERI: pre-training
#
# Deep ECG-Report Interaction (DERI) learns an ECG encoder from tracings and their reports. Contrastive learning pulls
# an ECG and its report together; DERI adds that each must be able to *rebuild the features of the other*, and aligns
# the two a second time after that exchange. The claim under test is that this deeper interaction carries more clinical
# meaning: a zero-shot macro AUC of 78.73 on average over six tasks, against 75.25 for MERL, which aligns only
# {cite:p}`deri`.
#
# This chapter trains the model. {doc}`The next one </results/deri_zero_shot/deri_zero_shot>` scores it.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | pairs | MIMIC-IV-ECG, 771,693 at 500 Hz | simulated, at 100 Hz; real ones with `dataset` and `data_root` |
# | ECG encoder | ResNet18-1D, random start | the same, half the width |
# | report encoder | MedCPT, frozen | MiniLM, frozen |
# | machine | four RTX 4090 | two CPU cores, two and a half to four minutes |
# | left out | | nothing of the method: all five loss terms, both decoders, RME |
#
# `profile` chooses the scale. With `gpu` and `paper` the network has the paper's size. Every parameter can be given on
# the command line, `papermill notebooks/deri_pretrain.ipynb -p seed 1`, or changed below in JupyterLab.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper (the paper's schedule)
seed: int = 0  # of weights, order of records, dropout and masks
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the pairs to learn from
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where checkpoint, figures, tables and the run record go
n_records: int = 0  # pairs to train on; 0: the profile's number
epochs: int = 0  # passes over the pairs; 0: the profile's number
processes: int = 0  # processes to train on; 0: one per GPU, or one
terms: str = "align,mixed,dec_e,dec_t,rme"  # loss terms of equation 9 to keep (table 4)
rme: str = "attention"  # attention, linear or dropout: how the two views are made (table 5)
mask_ratio: float = 0.1  # share of ECG tokens masked in each view (table 6)
shared_embedding: bool = True  # the token SE_t that joins the ECG tokens in D_t (table 7)
temperature: float = 0.07  # of every contrastive term; 0.7 in print

# %%
import math

import pandas as pd

from ecglib import chapters, losses, pretrain
from ecglib.chapters import pretraining
from ecglib.papers import deri
from ecglib.run import start

run = start("deri_pretrain", globals(), choices={"dataset": pretraining.LEARNABLE, **deri.CHOICES})
changes = {
    "terms": tuple(term.strip() for term in terms.split(",")),
    "rme": rme,
    "mask_ratio": mask_ratio,
    "shared_embedding": shared_embedding,
    "temperature": temperature,
}
deri.check(deri.Config(**changes))

# %% [markdown]
# ## Data
#
# The paper uses 771,693 of the 800,035 records of MIMIC-IV-ECG: those whose report has more than three words. That set
# cannot be shipped. The default here is the project's simulator, whose reports are written in the manner of cart
# reports. With `dataset` and `data_root` the same cells read real records, of which folds 1 to 8 train.
#
# Reports repeat: a cart has a limited vocabulary. That matters twice. The frozen report encoder runs once per
# *distinct* report, and two records with the same report are still treated as a negative pair, as in the paper.

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
# An ECG $e_i$ becomes a sequence of tokens $z_{e,i} = \mathcal{F}_e(e_i)$, a report $r_i$ a sequence
# $z_{t,i} = \mathcal{F}_t(r_i)$. Linear projectors bring both into one space, $\hat A_e = \mathcal{P}_e(z_e)$ and
# $\hat A_t = \mathcal{P}_t(z_t)$ (`project_e`, `project_t`). Two small transformers decode each into a feature of the
# other, with a learned token $SE_t$ beside the ECG tokens (`decode_e`, `decode_t`; equation 6):
#
# $$\hat D_e = \mathcal{D}_e(\hat A_t), \qquad \hat D_t = \mathcal{D}_t(\mathrm{Concat}[\hat A_e, SE_t]).$$
#
# The sums $\hat M^e = \hat A_e + \hat D_t$ and $\hat M^t = \hat A_t + \hat D_e$ are the *mixed* encodings. Since
# $\hat D_t$ needs the ECG alone, $\hat M^e$ can be had without a report; it is what the next chapter scores.
#
# Every term is the same contrastive loss between matched rows $x_i, y_i$ of a batch of $B$ pairs, with cosine
# similarity $s$ and temperature $\tau$ (equations 1 to 3, in the reading taken here):
#
# $$\mathcal{L}(x, y) = -\frac{1}{2B}\sum_{i=1}^{B}\left[\log\frac{e^{s(x_i,y_i)/\tau}}{\sum_k e^{s(x_i,y_k)/\tau}}
# + \log\frac{e^{s(x_i,y_i)/\tau}}{\sum_k e^{s(x_k,y_i)/\tau}}\right]$$
#
# | term | $x$, $y$ | equation | name |
# |---|---|---|---|
# | alignment | $\hat A_e$, $\hat A_t$ | 1 | `align` |
# | mixed alignment | $\hat M^e$, $\hat M^t$ | 4 | `mixed` |
# | ECG reconstruction | $z_e$, $\hat D_e$ | 7 | `dec_e` |
# | report reconstruction | $z_t$, $\hat D_t$ | 7 | `dec_t` |
# | masked enhancement | two masked views of $z_e$ | 8 | `rme` |
#
# The total is their plain sum (equation 9). Print leaves several points open; the [deviations](#deviations-deri) say
# which reading stands here.

# %%
model = pretrain.build_model("deri", profile, seed, **changes)
parts = {"ECG encoder": model.ecg_encoder, "D_e": model.decode_e, "D_t": model.decode_t, "all that learns": model}
chapters.sizes(parts)

# %% [markdown]
# This is the whole training objective, shown from the package. `pairs` names what each term compares; a term that
# `terms` leaves out is not computed.

# %%
chapters.source(deri.DERI.losses, losses.info_nce)

# %% [markdown]
# ## Known truth before training
#
# An untrained model knows nothing about pairs. If all similarities in a batch were equal, every term would be $\log B$.
# They are not quite equal, and with $\tau = 0.07$ small differences are magnified, so the start lies somewhat above.
# The masked enhancement compares two views of the *same* tokens and starts far below. A term far off these marks would
# mean a broken composition, and the reader would know before spending an hour.

# %%
schedule = pretraining.schedule(run, "deri", len(pairs.store))
log_b = dict.fromkeys(model.config.terms, math.log(schedule.batch_size))
pretraining.at_the_start(model, pairs, schedule, theory=log_b)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The state is saved every minute: a run that is killed goes on
# where it was, and on a CPU it ends with the same weights, bit for bit, as one that never stopped. There is no
# validation set to choose a checkpoint by; the last step is taken.

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
# ## The paper's schedule beside this run
#
# The paper reports no number for pre-training itself, so what can be compared is the schedule.

# %%
paper_says = {"epochs": 50, "records per step": 4 * 512, "peak learning rate": 1e-3, "weight decay": 1e-8}
chapters.schedules(paper_says, schedule, "section 4.2")

# %% [markdown]
# ## Try it
#
# * `terms = "align"` is plain contrastive alignment. Score it in the next chapter by giving the new checkpoint's folder
#   (named in the last line below) as `checkpoint`, and you have a row that table 4 does not.
# * `temperature = 0.7` is the printed value. Watch the alignment term stay close to $\log B$.
# * `mask_ratio = 0.5`: the two views grow apart and the `rme` curve rises (table 6).
# * `dataset = "ptb-xl"` with `data_root` trains on real records.

# %% [markdown]
# (deviations-deri)=
# ## Deviations

# %%
chapters.deviations(deri.DEVIATIONS)

# %% [markdown]
# The record of this run is written last: parameters, data fingerprint, commit, machine and the numbers above.

# %%
pretraining.record(run, trained, pairs, metrics)
