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
# # C-MELT: pre-training
#
# Two schools of pre-training meet here. One hides part of an input and learns to rebuild it; the other tells matched
# pairs from unmatched ones. C-MELT does both at once: words and patches of the ECG are masked and rebuilt *through each
# other*, while a sigmoid loss judges every ECG-report pair of a batch on its own. Half of the reports are replaced by
# negatives taken from the far end of a text space (N3S). The claim under test: a zero-shot macro AUC of 77.1 on average
# over six sets, against 75.3 for MERL (table 3), and of 72.5 with category names, of which N3S brings 1.9 (table 6)
# {cite:p}`c_melt`.
#
# This chapter trains the model. {doc}`The next one </results/c_melt_zero_shot/c_melt_zero_shot>` scores it.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | pairs | MIMIC-IV-ECG, 779,891 at 500 Hz | simulated, at 100 Hz; real ones with `dataset` and `data_root` |
# | ECG encoder | four convolutions, eight transformer layers of width 768 | the same, width 96 |
# | lead masking | probability not printed; 0.5 as released | 0.1 |
# | sigmoid loss | the masked inputs, bare product | whole inputs, cosine with learned scale and bias |
# | report encoder | Flan-T5-base, learning | MiniLM, frozen |
# | space of the negatives | Flan-T5 small, frozen | the same MiniLM |
# | machine | one H100, 300,000 steps of 128 | two CPU cores, about four minutes |
# | left out | | nothing of the method: four loss terms, fusion, N3S, lead masking |
#
# `profile` chooses the scale. Every parameter can be given on the command line, as in
# `papermill notebooks/c_melt_pretrain.ipynb -p negatives random`, or changed below in JupyterLab.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper (the paper's schedule)
seed: int = 0  # of weights, order of records, masks and negatives
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the pairs to learn from
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where checkpoint, figures, tables and the run record go
n_records: int = 0  # pairs to train on; 0: the profile's number
epochs: int = 0  # passes over the pairs; 0: the profile's number
processes: int = 0  # processes to train on; 0: one per GPU, or one
terms: str = "mlm,mem,etm,siglep"  # loss terms to keep; table 6 drops siglep
negatives: str = "farthest"  # farthest (N3S), nearest, random (table 6 without N3S) or none
layers: int = 8  # transformer layers of the ECG encoder; 4 and 1 in table 8
text_encoder: str = ""  # medcpt, deberta, bert: table 7; empty: the profile's
lead_mask: float = -1.0  # probability that a lead is zeroed; below 0: the profile's
contrast: str = ""  # masked or whole: what the sigmoid loss reads; empty: the profile's
siglep: str = ""  # dot (equation 4) or siglip (cosine, learned scale and bias); empty: the profile's
replaced_pair: str = "negative"  # negative or left-out: an ECG and its N3S report in equation 4

# %%
import dataclasses
import math

import pandas as pd

from ecglib import chapters, losses, pretrain
from ecglib.chapters import pretraining
from ecglib.papers import c_melt
from ecglib.run import start

choices = c_melt.CHOICES | {name: ("", *c_melt.CHOICES[name]) for name in ("contrast", "siglep")}
run = start("c_melt_pretrain", globals(), choices={"dataset": pretraining.LEARNABLE, **choices})
changes = {
    "terms": tuple(term.strip() for term in terms.split(",")),
    "negatives": negatives,
    "layers": layers,
    "replaced_pair": replaced_pair,
}
usual = {"text_encoder": text_encoder, "contrast": contrast, "siglep": siglep}
changes |= {name: value for name, value in usual.items() if value}
if lead_mask >= 0:
    changes["lead_mask"] = lead_mask
c_melt.check(dataclasses.replace(pretrain.usual_config("c_melt", profile), **changes))

# %% [markdown]
# ## Data
#
# The paper drops records without a report or with missing samples and keeps 779,891 of the 800,035 records of
# MIMIC-IV-ECG. Of these about 180,000 reports are distinct, and more than 100,000 records say "sinus rhythm normal ecg"
# (appendix A.2). A report drawn at random is therefore often no negative at all; that is what N3S answers. The
# simulated reports repeat themselves too, if less. The pair below is drawn on the paper a cardiologist reads: 25 mm/s
# along, 10 mm/mV up.

# %%
pairs = pretraining.pairs(run)
pretraining.counts(pairs, {"records": "779,891", "distinct texts": "about 180,000", "sampling rate": "500 Hz"})

# %%
pretraining.show_pair(pairs)

# %% [markdown]
# ## Method
#
# Each lead is zeroed with probability `lead_mask`. Convolutions cut what is left into patches; three quarters of the
# patches are taken away, and eight transformer layers read the rest: $H_x$. A quarter of the report's words is masked,
# and the text encoder reads what remains: $H_t$. The `fusion` lets each attend to the other, layer after layer. Three
# heads read its output (equations 1 to 3), and two more read the encoders themselves, $x' = g_x(H_x)$ and
# $t' = g_t(H_t)$, pooled (equation 4):
#
# $$\mathcal{L}_{\mathrm{MLM}} = -\frac1B\sum_j\sum_{m\in M_j}\log P(t_{jm}\mid t_{j\setminus M_j}), \qquad
# \mathcal{L}_{\mathrm{MEM}} = \frac1B\sum_i\lVert\hat x_i - x_i\rVert^2,$$
#
# $$\mathcal{L}_{\mathrm{ETM}} = -\frac1B\sum_k\big[y_k\log\sigma(\hat z_k) + (1-y_k)\log(1-\sigma(\hat z_k))\big],$$
#
# $$\mathcal{L}_{\mathrm{Siglep}} = -\frac1B\sum_i\sum_j\log\frac{1}{1+e^{-y_{ij}\,x_i'^\top t_j'}}.$$
#
# | symbol | name in code |
# |---|---|
# | $t_{jm}$, masked words | `masked_texts`, `mlm_head` |
# | $\hat x_i$, rebuilt patches | `masked_ecgs`, `mem_head`; the mean over masked samples is taken |
# | $y_k$, does the report belong to the ECG | `matched`, `etm_head` |
# | $y_{ij}$, plus or minus one | the sign in `siglep` |
#
# The total is their plain sum; print gives no weights.

# %%
model = pretrain.build_model("c_melt", profile, seed, **changes)
parts = {
    "ECG encoder": model.ecg_encoder,
    "text encoder, what learns": model.text_encoder,
    "fusion": model.fusion,
    "MLM head": model.mlm_head,
    "MEM decoder": model.mem_head,
    "all that learns": model,
}
chapters.sizes(parts, printed={})

# %% [markdown]
# The whole objective, shown from the package. The order of its first lines matters. A report is replaced *before*
# anything is masked, so that masked words, fusion and label all speak of the same text. In the released code the masked
# text of the matching report takes the negative's place while the label still says "not aligned".

# %%
chapters.source(c_melt.CMELT.losses, c_melt.MaskedEcgs.__call__, c_melt.CMELT.siglep, losses.pairwise_sigmoid)

# %% [markdown]
# ## Negatives
#
# Every distinct report is embedded once by a frozen encoder, and FAISS finds for each its 64 neighbours at the largest
# cosine distance: the *farthest*, although the paper's name for it says nearest. One of them, at random, replaces the
# report of half the records of a batch. Below, for the commonest report, what each choice of `negatives` would draw
# (compare figure 2), and how varied one draw for every record is.
#
# The last column is worth a thought. The far end of a text space is a small place: odd and very short reports lie far
# from everything, so a few of them serve as negatives for nearly all. A matching head can then know a negative by its
# text, without a look at the ECG. The accuracy above 96 % that the paper reports with N3S may owe something to that.

# %%
model.prepare(pairs.data.reports)
commonest = max(set(pairs.data.reports), key=pairs.data.reports.count)
drawn = {}
for how in ("farthest", "nearest", "random"):
    sampler = c_melt.ReportNegatives(model.negatives.embed, how)
    sampler.prepare(pairs.data.reports)
    all_drawn = pd.Series(sampler.draw(pairs.data.reports))
    drawn[how] = {f"negative {i + 1}": text for i, text in enumerate(sampler.draw([commonest] * 3))}
    drawn[how]["share of the 64 commonest"] = f"{all_drawn.value_counts()[:64].sum() / len(all_drawn):.0%}"
print("the report:", commonest)
pd.DataFrame(drawn).T

# %% [markdown]
# ## Known truth before training
#
# Heads that know nothing have values that theory gives. A masked word costs the logarithm of the vocabulary. Leads are
# scaled to deviation one, so a rebuilt patch of zeros errs by one, and a random guess by more. Matched or not costs
# $\log 2$. Each of the $B$ pairs of a row of equation 4 costs $\log 2$ as well when the logits are bare products near
# zero. In SigLIP's form all start at $10 \cos - 10$, a firm *no*, which only the matched half of the rows pays for. In
# either form the sum soon falls to $B\,H(p)$, what the best single answer to all pairs costs with a share $p$ of them
# matched; from there on it has to read.

# %%
schedule = pretraining.schedule(run, "c_melt", len(pairs.store))
ignorance = {
    "mlm": math.log(model.text_encoder.vocabulary),
    "mem": 1.0,
    "etm": math.log(2),
}
B, matched = schedule.batch_size, 1 - model.config.replaced * (negatives != "none")
p = matched / B
bias = float(getattr(model, "bias", 0.0))  # all logits at the start
at_start = ignorance | {"siglep": matched * math.log1p(math.exp(-bias)) + (B - matched) * math.log1p(math.exp(bias))}
ignorance["siglep"] = -B * (p * math.log(p) + (1 - p) * math.log(1 - p))
ignorance, at_start = ({term: of[term] for term in model.config.terms} for of in (ignorance, at_start))
pretraining.at_the_start(model, pairs, schedule, theory=at_start)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The demo's text tower is frozen and its token states are
# computed once per distinct report; masked reports cannot use them, because every state of a report has read every
# word of it. Each report therefore has a fixed number of maskings (`maskings`), computed once like any text. The curves
# show one panel per term, with the level of ignorance dashed. The last step is taken.

# %%
trained = pretraining.train(run, model, pairs, schedule, reference=ignorance)

# %% [markdown]
# ## What has been learned
#
# Given a *new* ECG, is its own report among the ten nearest of all distinct reports of the held-out pairs, by cosine of
# $x'$ and $t'$? Nothing is masked here. Every distinct report counts once; chance is ten divided by their number.

# %%
metrics = pretraining.held_out_retrieval(trained, pairs)
print(metrics[0]["setting"])
pd.DataFrame(metrics)[["method", "metric", "value", "ci_low", "ci_high", "n"]].round(1)

# %% [markdown]
# ## The paper's schedule beside this run
#
# The paper gives no number for pre-training itself but the matching accuracy of appendix A.2: about 75 % without N3S,
# above 96 % with it, on its own training batches. What can be compared is the schedule.

# %%
paper_says = {"epochs": 49.2, "records per step": 128, "peak learning rate": 5e-5, "weight decay": 0.01}
chapters.schedules(paper_says, schedule, "section 4.1.1")

# %% [markdown]
# ## Try it
#
# * `negatives = "random"` is table 6 without N3S: watch the matching term. `"nearest"` is what the method's name says.
# * `terms = "mlm,mem,etm"` is the row without Siglep, whose zero-shot score means nothing: its heads never learn.
# * `layers = 1` or `4`: table 8.
# * `contrast = "masked"` lets the sigmoid loss read what is left of ECGs and reports, as figure 1 has it. A step is
#   quicker; what does retrieval lose?
# * `siglep = "dot"` is equation 4 as printed, without the scale and bias of its original.

# %% [markdown]
# (c-melt-deviations)=
# ## Deviations
#
# Print and release, where they are open, disagree or were not followed. The record of this run is written behind them:
# parameters, data fingerprint, commit, machine and the numbers above.

# %%
chapters.deviations(c_melt.DEVIATIONS)

# %%
pretraining.record(run, trained, pairs, metrics)
