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
# # ESI: pre-training
#
# The ECG Semantic Integrator (ESI) says two things about learning from reports. A report is too terse, so its text is
# enriched first: {doc}`the chapter before </results/esi_cqa/esi_cqa>` shows how. And telling pairs apart is not enough,
# so the model must also be able to *write* the text, word by word, while looking at the ECG. The claim under test is
# table 5a: without the captioning loss the linear probe on PTB-XL falls from an AUC of 0.928 to 0.913, without the
# enriched texts to 0.901, without the contrastive loss to 0.850 {cite:p}`esi`.
#
# This chapter trains the model. {doc}`The next one </results/esi_zero_shot/esi_zero_shot>` scores it.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | pairs | three sets, over 660,000 at 500 Hz | simulated, at 100 Hz; real ones with `dataset`, `data_root` |
# | texts | two textbooks and GPT-3.5 | the project's knowledge base, retrieved and written by rule |
# | ECG encoder | ConvNeXt V2 base, 85.56 M | the same blocks, 0.96 M |
# | text encoder | BioLinkBERT, learning | MiniLM, frozen |
# | machine | four A100, 48 pairs each | two CPU cores, two and a half to four minutes |
# | left out | | nothing of the method; of the mixture, PTB-XL and CSN unless `mixture = "all"` |
#
# With `gpu` and `paper` the networks have the paper's size and the text encoder learns too. Every parameter can be
# given on the command line, `papermill notebooks/esi_pretrain.ipynb -p seed 1`, or changed below in JupyterLab.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper (the paper's schedule)
seed: int = 0  # of weights, order of records, dropout, and of the pairs torn apart
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the pairs to learn from
data_root: str = ""  # folder with the original files of dataset; needed unless it is simulated
mixture: str = "mimic-iv-ecg"  # mimic-iv-ecg alone, or all: with PTB-XL and CSN, as in the paper (table 6)
ptbxl_root: str = ""  # folder with PTB-XL's files; for mixture all on real records
csn_root: str = ""  # folder with CSN's files; for mixture all on real records
results_dir: str = "results"  # where checkpoint, figures, tables and the run record go
n_records: int = 0  # pairs to train on (figure 5); 0: the profile's number
epochs: int = 0  # passes over the pairs; 0: the profile's number
processes: int = 0  # processes to train on; 0: one per GPU, or one
texts: str = "cqa"  # cqa, report (table 5a, without CQA), or a descriptions.jsonl that esi_cqa wrote
shuffled: float = 0.0  # share of pairs torn apart (figure 7)
terms: str = "contrastive,caption"  # loss terms to keep (table 5a)
ecg_encoder: str = ""  # a row of table 5b by name, as in ecglib/papers/esi.py; empty: the profile's
caption_mean: str = "token"  # token, or text for the printed sum over a text
temperature: float = 0.07  # sigma at the start
temperature_learns: bool = True  # whether sigma learns

# %%
import dataclasses
import math

import pandas as pd

from ecglib import chapters, cqa, datasets, fusion, losses, mixtures, pretrain
from ecglib.chapters import captions, pretraining
from ecglib.papers import esi
from ecglib.run import start
from ecglib.train import TrainingData

encoders = ("", *esi.ECG_ENCODERS)
choices = esi.CHOICES | {"ecg_encoder": encoders, "mixture": tuple(mixtures.MIXTURES)}
run = start("esi_pretrain", globals(), choices=choices | {"dataset": pretraining.LEARNABLE})
changes = {
    "terms": tuple(term.strip() for term in terms.split(",")),
    "caption_mean": caption_mean,
    "temperature": temperature,
    "temperature_learns": temperature_learns,
} | ({"ecg_encoder": ecg_encoder} if ecg_encoder else {})
esi.check(esi.Config(**changes))

# %% [markdown]
# ## Data
#
# The paper's mixture has 600K records of MIMIC-IV-ECG, 17K of PTB-XL (its training part) and all 45K of
# Chapman-Shaoxing. The default here is the first set alone, the row «MIMIC» of table 6. That set is what the other four
# papers train on. A model of the whole mixture has read the label words of PTB-XL and CSN, so that its scores on them
# are not zero-shot; the paper's own table 6 finds it 0.015 better on PTB-XL and says that learning from the same set
# could help. With `mixture = "all"` all three are there, simulated ones in the proportions of table 1.
#
# A text holds age and sex where they are known, then the statements, then how each shows in the waveform. Every
# distinct statement is looked up once, whatever the number of records. `texts = "report"` leaves all this out (table
# 5a, «w/o CQA»). `shuffled` hands a share of the texts on among each other, so that each lands on a foreign ECG (figure
# 7); the held-out pairs stay whole.

# %%
roots = {"ptb-xl": ptbxl_root, "csn": csn_root} | {dataset: data_root}
store, kind = mixtures.pretraining_mixture(mixture, profile, dataset, roots, seed, n_records)
held_out = datasets.held_out_pairs(profile, dataset, data_root, seed)
descriptions = cqa.descriptions_for(texts, (store, held_out), dataset)
told = mixtures.misaligned(cqa.texts(store, dataset, descriptions), shuffled, seed)
told_held_out = cqa.texts(held_out, dataset, descriptions)
unusual = {"mixture": mixture} if mixture != "mimic-iv-ecg" else {}
unusual |= {"shuffled": shuffled} if shuffled else {}
unusual |= {"texts": descriptions.fingerprint if descriptions else texts} if texts != "cqa" else {}
pairs = pretraining.Pairs(
    mixtures.joined(mixture, dataset),
    kind,
    TrainingData(store, told),
    TrainingData(held_out, told_held_out),
    unusual,
)
pretraining.counts(pairs, {"records": "over 660,000", "sampling rate": "500 Hz"})

# %%
pretraining.show_pair(pairs)

# %% [markdown]
# ## Method
#
# The ECG encoder turns a record into tokens, $T / 32$ of them. Their mean, projected and scaled to unit length, is the
# embedding $S_i$; the pooled text encoder, projected, is $T_i$. The contrastive loss (section 3.2.1) asks in both
# directions which of the $N$ partners in the batch is the right one:
#
# $$\mathcal{L}_\mathrm{Con} = -\frac{1}{N}\left(\sum_i \log\frac{\exp(S_i^\top T_i/\sigma)}{\sum_j
# \exp(S_i^\top T_j/\sigma)} + \sum_i \log\frac{\exp(T_i^\top S_i/\sigma)}{\sum_j \exp(T_i^\top S_j/\sigma)}\right).$$
#
# The captioning loss asks for the text itself. A decoder reads the words before $t_i$ and, by cross-attention, *all
# tokens* of the ECG, and foretells $t_i$:
#
# $$\mathcal{L}_\mathrm{Cap} = -\sum_i \log P(t_i \mid t_{<i}, S; \theta), \qquad
# \mathcal{L} = \lambda_\mathrm{Con}\mathcal{L}_\mathrm{Con} + \lambda_\mathrm{Cap}\mathcal{L}_\mathrm{Cap},
# \quad \lambda = 1.$$
#
# Two ways to get this wrong stand in the released code. If the decoder is fed the states of a bidirectional encoder,
# each word has been seen before it is asked for, and the loss can fall without a look at the ECG. So it is fed input
# embeddings, under a causal mask. And if one pooled vector is repeated as often as there are tokens, attention has
# nothing to choose from.
#
# | symbol | meaning | name |
# |---|---|---|
# | $S_i$, $T_i$ | embeddings | `project_s`, `project_t` |
# | $\sigma$ | temperature, learned from 0.07 | `temperature` |
# | $t_{<i}$ | words before, as input embeddings | `word` |
# | $S$ in $P$ | ECG tokens with their positions | `see` |
# | $P$ | causal decoder, words in and out by one table | `decoder` |
#
# Below, the parts of this run, then the four encoders of table 5b at full size beside the sizes printed there.

# %%
model = pretrain.build_model("esi", profile, seed, **changes)
parts = {"this run's ECG encoder": model.ecg_encoder, "caption decoder": model.decoder, "all that learns": model}
printed = {"vit-base": "84.92 M", "xresnet101": "1.80 M", "convnext-tiny": "26.81 M", "convnext-base": "85.56 M"}
chapters.sizes(parts | {name: esi.ECG_ENCODERS[name]() for name in printed}, printed)

# %%
chapters.source(esi.ESI.losses, esi.ESI.caption_logits, fusion.CaptionDecoder, losses.captioning)

# %% [markdown]
# ## Known truth before training
#
# A model without knowledge has a contrastive loss of about $2\log N$, twice that of a mean over both directions, and a
# captioning loss of about $\log V$ with $V$ the words it chooses from. With $\sigma = 0.07$ small differences between
# untrained similarities are magnified, so the first lies somewhat above. A captioning loss that started far below
# $\log V$ would mean that the answer leaks in.

# %%
schedule = pretraining.schedule(run, "esi", len(pairs.store))
model.prepare(pairs.data.reports)
chance = {"contrastive": 2 * math.log(schedule.batch_size), "caption": math.log(len(model.vocabulary))}
pretraining.at_the_start(model, pairs, schedule, theory=chance)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The caption falls fast at first, because texts of this kind are
# formulaic and much of a sentence follows from its beginning; only what is left after that has to come from the ECG.
# The last step is taken, no checkpoint is chosen.

# %%
trained = pretraining.train(run, model, pairs, schedule, reference={k: chance[k] for k in model.config.terms})

# %% [markdown]
# ## What has been learned
#
# Is a new ECG's own text among the ten nearest of all distinct texts of held-out pairs? Since texts hold age and sex,
# nearly all are distinct, and finding one's own is harder than among bare reports: compare with chance, not with
# another chapter.
#
# And does the decoder look at the ECG? Each of these texts is foretold twice, from its own ECG and from that of another
# record. A decoder that only knows its grammar gives both the same loss; the difference is what the tracing says.

# %%
metrics = pretraining.held_out_retrieval(trained, dataclasses.replace(pairs, dataset=dataset))
named = datasets.PRETRAINING_COHORT if dataset == "simulated" else dataset
if "caption" in model.config.terms:
    metrics += captions.own_and_foreign(trained, pairs.held_out, named, seed=seed)
pd.DataFrame(metrics)[["method", "setting", "metric", "value", "ci_low", "ci_high", "n"]].round(3)

# %% [markdown]
# ## The paper's schedule beside this run

# %%
paper_says = {"epochs": 30, "records per step": 4 * 48, "peak learning rate": 5e-5}
chapters.schedules(paper_says, schedule, "section 4.1")

# %% [markdown]
# ## Try it
#
# * `terms = "contrastive"`, then `terms = "caption"`: two rows of table 5a. `texts = "report"` is the third.
# * `shuffled = 0.5`: half the pairs lie. What happens to the two losses?
# * `n_records = 800`, `1600`, `3200`: the beginning of figure 5.
# * `mixture = "all"` beside the default is table 6; score both in the next chapter.
# * `ecg_encoder = "vit-demo"` is a transformer of about the same size (table 5b); `"xresnet101"` is the paper's own at
#   its full size, larger than this chapter's encoder and slower.
# * `caption_mean = "text"` takes the printed sum at its word, so that the caption outweighs the contrast manyfold.

# %% [markdown]
# (deviations-esi)=
# ## Deviations

# %%
chapters.deviations(esi.DEVIATIONS)

# %% [markdown]
# The record of this run is written last: parameters, data fingerprint, commit, machine and the numbers above.

# %%
read = f"texts {descriptions.fingerprint if descriptions else texts}"
pretraining.record(run, trained, pairs, metrics, "; ".join(filter(None, (read, mixtures.seen_words(mixture)))))
