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
# # K-MERL: pre-training
#
# A report is free text, and most of it is grammar. K-MERL (Knowledge-enhanced Multimodal ECG Representation Learning)
# takes from it what is structured: the cardiac entities it states as present. A *query network* is asked for each of
# them by name and must find it in the ECG, beside the usual alignment of an ECG with its report. The ECG encoder gives
# every lead tokens of its own and is trained with one to three visible leads, so that it later reads any subset of the
# twelve. The claim under test is a zero-shot macro AUC of **76.52** on average over six tasks with twelve leads and
# **71.61** with a single one, by plain class names {cite:p}`k_merl`.
#
# This chapter trains the model. {doc}`The next one </results/k_merl_zero_shot/k_merl_zero_shot>` scores it;
# {doc}`another </results/k_merl_entities/k_merl_entities>` mines the entities from a corpus.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | pairs | MIMIC-IV-ECG, 771,693 at 500 Hz | simulated, at 100 Hz; real ones with `dataset` and `data_root` |
# | entities | 277, mined with Llama3.1-70B-Instruct | those of the knowledge base; a mined table with `entities` |
# | ECG encoder | ViT-tiny, 50 tokens of 0.2 s per lead | 3 layers, 20 tokens of 0.5 s per lead |
# | query network | 4 layers, 4 heads | the same, narrower |
# | report encoder | MedCPT | MiniLM, frozen |
# | machine | eight A100 | two CPU cores, two and a half to four minutes |
# | left out | | nothing of the method |
#
# `profile` chooses the scale. With `gpu` and `paper` the networks have the paper's size. Below, every row of the
# paper's tables 2a, 2b, 2d, 2e, 6b, 6c and of figures 7 and 8 is a parameter; those of tables 2c and 6a are parameters
# of the mining chapter, whose table comes in with `entities`.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper (the paper's schedule)
seed: int = 0  # of weights, order of records, dropout and masks
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the pairs to learn from
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where checkpoint, figures, tables and the run record go
n_records: int = 0  # pairs to train on; 0: the profile's number
epochs: int = 0  # passes over the pairs; 0: the profile's number
processes: int = 0  # processes to train on; 0: one per GPU, or one
entities: str = ""  # entities.json of k_merl_entities; empty: the knowledge base (tables 2c, 6a)
terms: str = "contrast,query"  # loss terms of equation 3 to keep (table 2a)
score_with: str = "query"  # query network, or cosine: needed when terms has no query (table 2a)
lead_tokens: bool = True  # tokens of single leads; False: one token for all leads (table 2b)
lead_positions: bool = True  # lead-specific spatial positions (table 2b)
time_positions: bool = True  # lead-agnostic temporal positions (table 2b)
lead_masking: str = "dynamic"  # dynamic, fixed (the middle number) or none (table 2d)
min_masked_leads: int = 9  # fewest leads masked; the most is 11 (figure 7)
segment_masking: str = "per_lead"  # per_lead, joint (over all tokens) or none (table 2d)
segment_mask_ratio: float = 0.25  # share of segments masked (figure 7)
text_encoder: str = ""  # medcpt, bioclinicalbert, ... (table 2e); empty: the profile's
query_layers: int = 4  # of the query network, 1 to 5 (table 6b)
query_heads: int = 4  # of the query network, 1 to 5 (table 6c)
token_samples: int = 0  # samples of one token, 25 to 200 at 500 Hz (figure 7); 0: the profile's
ecg_encoder: str = ""  # tiny, small, middle or base (figure 8); empty: the profile's
direction: str = "both"  # of the contrastive term; ecg_to_text as equation 2 prints it
positive_in_denominator: bool = True  # False: the indicator of equation 2 at its word

# %%
import dataclasses
import math

import pandas as pd
import torch
from matplotlib.figure import Figure

from ecglib import chapters, figures, losses, pretrain
from ecglib.chapters import pretraining
from ecglib.knowledge import entity_table
from ecglib.papers import k_merl
from ecglib.paths import expand
from ecglib.run import start
from ecglib.signals import LEADS

choices = {**k_merl.CHOICES, "ecg_encoder": ("", *k_merl.CHOICES["ecg_encoder"])}
run = start("k_merl_pretrain", globals(), choices={"dataset": pretraining.LEARNABLE, **choices})
changes = {
    "terms": tuple(term.strip() for term in terms.split(",")),
    "score_with": score_with,
    "lead_tokens": lead_tokens,
    "lead_positions": lead_positions,
    "time_positions": time_positions,
    "lead_masking": lead_masking,
    "min_masked_leads": min_masked_leads,
    "segment_masking": segment_masking,
    "segment_mask_ratio": segment_mask_ratio,
    "query_layers": query_layers,
    "query_heads": query_heads,
    "direction": direction,
    "positive_in_denominator": positive_in_denominator,
}
usual = {"token_samples": token_samples, "ecg_encoder": ecg_encoder, "text_encoder": text_encoder}
changes |= {name: value for name, value in usual.items() if value}
if entities:
    changes["entities"] = entity_table.store(entity_table.EntityTable.read(expand(entities)))
k_merl.check(dataclasses.replace(pretrain.usual_config("k_merl", profile), **changes))

# %% [markdown]
# ## Data
#
# The paper pre-trains on 771,693 pairs of MIMIC-IV-ECG, prepared as MERL does. That set cannot be shipped. The default
# here is the project's simulator, whose reports are written in the manner of cart reports. With `dataset` and
# `data_root` the same cells read real records, of which folds 1 to 8 train.

# %%
pairs = pretraining.pairs(run)
pretraining.counts(pairs, {"records": "771,693", "sampling rate": "500 Hz"})

# %%
pretraining.show_pair(pairs)

# %% [markdown]
# ## Entities
#
# Section 3.4 turns each report into a vector $\mathbf y_i \in \{0, 1\}^Q$: 1 where an entity is stated as present. A
# finding that is denied or merely possible counts as 0, like one that is not mentioned. Subtypes carry their
# superclass, so that an inferior infarction is also a myocardial infarction. The paper has $Q = 277$ names, 25 of them
# superclasses. Labels are a function of the report alone and are computed once per distinct report (`prepare`).

# %%
model = pretrain.build_model("k_merl", profile, seed, **changes)
model.prepare(pairs.data.reports)
y = pd.DataFrame(model.labels(pairs.data.reports).cpu().numpy(), columns=model.entities.entities)
print(f"Q = {y.shape[1]} entities (paper: 277), {len(model.entities.superclasses)} of them superclasses (paper: 25)")
print(f"{(y.sum() > 0).sum()} occur in these reports; {y.sum(axis=1).mean():.1f} per report")
(100 * y.mean()).nlargest(10).round(1).rename("percent of reports").to_frame()

# %% [markdown]
# ## Method
#
# **Tokens (section 3.2).** Lead $l$ is cut into $M$ segments $e^l[p_m]$, each a token of its own. One matrix $W$ serves
# all leads; a learned vector says which lead a token is of, another which time, the same for all leads:
#
# $$x_{l,m} = \mathrm{temp}_m + \mathrm{lead}_l + W e^l[p_m].$$
#
# **Masks (section 3.3).** Of each record 9, 10 or 11 leads are masked, the number drawn anew (dynamic lead masking),
# and of each visible lead a quarter of the segments (lead-independent segment masking). A masked token does not enter
# the encoder at all: on average an eighth of the tokens of twelve whole leads is read.
#
# **Losses (section 3.5).** With $\hat z_e = \mathcal P_e(\mathrm{AvgPool}(z_e))$, $\hat z_t$ likewise and cosine $s$,
# equation 2 in the reading taken here is
#
# $$\mathcal L_{contrast} = -\frac{1}{2B}\sum_{i=1}^{B}\left[\log\frac{e^{s(\hat z_{e,i},\hat z_{t,i})/\tau}}
# {\sum_k e^{s(\hat z_{e,i},\hat z_{t,k})/\tau}} + \log\frac{e^{s(\hat z_{e,i},\hat z_{t,i})/\tau}}
# {\sum_k e^{s(\hat z_{e,k},\hat z_{t,i})/\tau}}\right].$$
#
# The query network $\mathcal F_{CQ}$ reads the tokens $z_{e,i}$ as keys and values with the queries
# $\mathbf q = \mathcal F_T(\text{name})$, and equation 3 is a binary cross-entropy for each name:
#
# $$\mathcal L_{CQ} = \frac1B\sum_i\sum_q \mathrm{BCE}\big(\mathcal F_{CQ}(\mathbf Q, z_{e,i}), \mathbf y_i\big),
# \qquad \mathcal L = \mathcal L_{contrast} + \mathcal L_{CQ}.$$
#
# | symbol | name in the code |
# |---|---|
# | $\mathcal F_E$; $W$, lead, temp | `ecg_encoder`; its `embed`, `lead`, `time` |
# | $\mathcal P_e$, $\mathcal P_t$ | `project_e`, `project_t` |
# | $\mathcal F_{CQ}$; $\mathbf Q$, $\mathbf y$ | `query_network`; `queries`, `labels` |
# | $\mathcal L_{contrast}$, $\mathcal L_{CQ}$ | the terms `contrast` and `query` |

# %%
parts = {"ECG encoder": model.ecg_encoder, "its layers": model.ecg_encoder.blocks, "F_CQ": model.query_network}
chapters.sizes({**parts, "all that learns": model})

# %% [markdown]
# What the encoder sees of six records in one training step: rows are leads, columns segments, dark is visible. The next
# cell is the whole training objective, from the package.

# %%
seen = torch.zeros(6, 12, model.ecg_encoder.segments(pairs.store.samples))
for rows, leads, keep in model.masks(6, seen.shape[-1]) if lead_tokens else ():
    whole = torch.zeros(len(rows), leads.shape[1] * seen.shape[-1]).scatter(1, keep, 1.0)
    seen[rows.unsqueeze(1), leads] = whole.unflatten(1, (leads.shape[1], -1))
fig = Figure(figsize=(6.5, 1.8))
for axis, record in zip(fig.subplots(1, 6, sharey=True), seen, strict=True):
    axis.imshow(record, cmap="Greys", aspect="auto", vmin=0, vmax=1.3)
    axis.set(xlabel="segment", yticks=range(12), yticklabels=LEADS)
figures.show(fig)

# %%
chapters.source(k_merl.KMERL.masks, k_merl.KMERL.losses, losses.entity_bce)

# %% [markdown]
# ## Known truth before training
#
# An untrained model knows nothing of pairs: with equal similarities the contrastive term would be $\log B$; they are
# not quite equal, and $\tau = 0.07$ magnifies that. The query network starts by saying a nearly certain *no* to every
# entity, a logit $b$ (`first_logit`), which costs $Q \log(1 + e^b) - b\,\bar n$ with $\bar n$ entities in a report. If
# it said the share of each entity in the reports, and no more, it would reach the entropy computed below. A network
# that ends above that number has learned nothing about ECGs.

# %%
schedule = pretraining.schedule(run, "k_merl", len(pairs.store))
first, named = model.config.first_logit, y.iloc[: schedule.batch_size].sum(axis=1).mean()
theory = {"contrast": math.log(schedule.batch_size), "query": y.shape[1] * math.log1p(math.exp(first)) - first * named}
theory = {term: theory[term] for term in model.config.terms}
share = y.mean().clip(1e-12, 1 - 1e-12)
entropy = -(share * share.map(math.log) + (1 - share) * (1 - share).map(math.log)).sum()
print(f"BCE of the entities' shares alone: {entropy:.2f}")
pretraining.at_the_start(model, pairs, schedule, theory=theory)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The state is saved every minute: a run that is killed goes on
# where it was. There is no validation set to choose a checkpoint by; the last step is taken. The dashed line of the
# query term is the entropy of the shares.

# %%
reference = {term: {"contrast": math.log(schedule.batch_size), "query": entropy}[term] for term in model.config.terms}
trained = pretraining.train(run, model, pairs, schedule, reference=reference)

# %% [markdown]
# ## What has been learned
#
# Given a *new* ECG with all twelve leads, of which training never showed more than three at once: is its own report
# among the ten nearest of all distinct held-out reports, by cosine in the shared space? Chance is ten divided by their
# number. The query network is not asked here; the next chapter asks it.

# %%
metrics = pretraining.held_out_retrieval(trained, pairs)
print(metrics[0]["setting"])
pd.DataFrame(metrics)[["method", "metric", "value", "ci_low", "ci_high", "n"]].round(1)

# %% [markdown]
# ## The paper's schedule beside this run

# %%
paper_says = {"epochs": 50, "records per step": 8 * 512, "peak learning rate": 2e-4, "weight decay": 1e-5}
chapters.schedules(paper_says, schedule, "appendix A")

# %% [markdown]
# ## Try it
#
# * `terms = "contrast"` with `score_with = "cosine"` is the row without $\mathcal L_{CQ}$ of table 2a, the largest loss
#   in that table (76.52 to 68.95). Score it by giving the new folder as `checkpoint` in the next chapter.
# * `lead_masking = "none"` trains on all twelve leads, at several times the cost, and should hurt most with one lead.
# * `segment_mask_ratio = 0.75` is the far end of figure 7.
# * `entities` with the file that {doc}`the mining chapter </results/k_merl_entities/k_merl_entities>` leaves asks only
#   for names that its corpus states.
#
# ## Deviations

# %%
chapters.deviations(k_merl.DEVIATIONS)

# %%
pretraining.record(run, trained, pairs, metrics, notes=f"entities {model.entities.hash}")
