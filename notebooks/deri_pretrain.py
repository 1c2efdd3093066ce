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
# | machine | four RTX 4090 | two CPU cores, about three minutes |
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
import inspect
import math

import pandas as pd
import torch
from IPython.display import Markdown, display

from ecglib import datasets, figures, losses, pretrain
from ecglib.checkpoint import save_pretrained
from ecglib.evaluate import retrieval, retrieval_rows
from ecglib.launch import fit_on
from ecglib.papers import deri
from ecglib.run import data_entry, start
from ecglib.train import TrainingData

learnable = ["simulated", *datasets.SETS_WITH_REPORTS]
run = start("deri_pretrain", globals(), choices={"dataset": learnable, **deri.CHOICES})
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
store = datasets.pretraining_store(profile, dataset, data_root, seed, n_records)
data = TrainingData.of(store)
held_out = datasets.held_out_pairs(profile, dataset, data_root, seed)
counts = pd.DataFrame(
    {
        "paper": {"records": "771,693", "distinct reports": "not given", "sampling rate": "500 Hz"},
        "this run": {
            "records": f"{len(store):,}",
            "distinct reports": f"{len(set(data.reports)):,}",
            "sampling rate": f"{store.sampling_rate_hz:g} Hz",
        },
    }
)
counts

# %% [markdown]
# One pair of the training set, on the paper a cardiologist reads: 25 mm/s along, 10 mm/mV up.

# %%
example = int(store.records["report"].str.len().argmax())
fig = figures.plot_ecg(
    store.read([example])[0], store.sampling_rate_hz, title="A training pair", report=data.reports[example]
)
figures.show(fig)

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
# The total is their plain sum (equation 9). Print leaves several points open; the [deviations](#deviations) say which
# reading stands here.

# %%
model = pretrain.build_model("deri", profile, seed, **changes)
parts = {"ECG encoder": model.ecg_encoder, "D_e": model.decode_e, "D_t": model.decode_t, "all that learns": model}
sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
pd.DataFrame({"parameters": {name: f"{size:,}" for name, size in sizes.items()}})

# %% [markdown]
# This is the whole training objective, shown from the package. `pairs` names what each term compares; a term that
# `terms` leaves out is not computed.

# %%
display(Markdown(f"```python\n{inspect.getsource(deri.DERI.losses)}```"))
display(Markdown(f"```python\n{inspect.getsource(losses.info_nce)}```"))

# %% [markdown]
# ## Known truth before training
#
# An untrained model knows nothing about pairs. If all similarities in a batch were equal, every term would be $\log B$.
# They are not quite equal, and with $\tau = 0.07$ small differences are magnified, so the start lies somewhat above.
# The masked enhancement compares two views of the *same* tokens and starts far below. A term far off these marks would
# mean a broken composition, and the reader would know before spending an hour.

# %%
processes = processes or max(1, torch.cuda.device_count())
schedule = pretrain.schedule_for(profile, len(store), seed, epochs, processes)
model.text_encoder.prepare(data.reports)
untrained = pretrain.rebuild(model, seed).train()  # the same weights, so that looking does not touch the model
with torch.no_grad():
    first = untrained.losses(data.batch(range(schedule.batch_size), next(model.parameters()).device))
log_b = math.log(schedule.batch_size)
start_table = pd.DataFrame({"at the start": {name: value.item() for name, value in first.items()}, "log B": log_b})
start_table.round(2)

# %% [markdown]
# ## Training
#
# AdamW with a linear warm-up and a cosine down to zero. The state is saved every minute: a run that is killed goes on
# where it was, and on a CPU it ends with the same weights, bit for bit, as one that never stopped. There is no
# validation set to choose a checkpoint by; the last step is taken.

# %%
changed = pretrain.variant(model, profile, epochs, n_records)
folder = pretrain.checkpoint_folder(results_dir, "deri", profile, dataset, seed, changed)
history = fit_on(processes, model, data, schedule, folder)

kind = datasets.data_kind(store, dataset, folds=len(datasets.TRAINING_FOLDS))
trained_on = data_entry(kind, store, "pretrain")
training = {**vars(schedule), "effective_batch": schedule.batch_size, "steps": schedule.steps(len(store))}
save_pretrained(
    model,
    folder,
    profile=profile,
    dataset=dataset,
    data_kind=kind,
    data=trained_on,
    training=training,
    variant=changed,
    recipe=pretrain.recipe("deri", profile),
    checkpoint_choice="last step",
)
fig = figures.training_curves(history, reference=dict.fromkeys(model.config.terms, log_b))
run.save_figure(fig, "training_curves")
run.save_table(pd.DataFrame(history), "history")
figures.show(fig)

# %% [markdown]
# ## What has been learned
#
# The loss says how well the batches it saw were told apart. A better question: given a *new* ECG, is its own report
# among the ten nearest of all distinct reports of the held-out pairs? Every distinct report counts once, so that a
# ranking by mere frequency gains nothing; chance is ten divided by their number. For real data the held-out pairs are
# of fold 10, at most a thousand, whose patients were not seen in training.

# %%
pairs_of = "mimic-iv-ecg" if dataset == "simulated" else dataset  # the simulated pairs stand for MIMIC-IV-ECG
method = pretrain.method_name("deri", changed, dataset)
metrics = retrieval_rows(method, pairs_of, kind, retrieval(model, held_out))
print(metrics[0]["setting"])
pd.DataFrame(metrics)[["method", "metric", "value", "ci_low", "ci_high", "n"]].round(1)

# %% [markdown]
# ## The paper's schedule beside this run
#
# The paper reports no number for pre-training itself, so what can be compared is the schedule.

# %%
paper_says = {"epochs": 50, "records per step": 4 * 512, "peak learning rate": 1e-3, "weight decay": 1e-8}
this_run = {
    "epochs": schedule.epochs,
    "records per step": schedule.batch_size,
    "peak learning rate": schedule.lr,
    "weight decay": schedule.weight_decay,
}
pd.DataFrame({"paper, section 4.2": paper_says, "this run": this_run}).map("{:g}".format)

# %% [markdown]
# ## Try it
#
# * `terms = "align"` is plain contrastive alignment. Score it in the next chapter by giving the new checkpoint's folder
#   (named in the last line below) as `checkpoint`, and you have a row that table 4 does not.
# * `temperature = 0.7` is the printed value. Watch the alignment term stay close to $\log B$.
# * `mask_ratio = 0.5`: the two views grow apart and the `rme` curve rises (table 6).
# * `dataset = "ptb-xl"` with `data_root` trains on real records.

# %% [markdown]
# (deviations)=
# ## Deviations

# %%
rows = "\n".join(f"* **{d.where}.** Printed: {d.printed} Here: {d.here}" for d in deri.DEVIATIONS)
display(Markdown(rows))

# %% [markdown]
# The record of this run is written last: parameters, data fingerprint, commit, machine and the numbers above.

# %%
written = run.record(
    metrics,
    data={"pretrain": trained_on, "held-out": data_entry(kind, held_out, "test")},
    model=model.config,
    training=training,
    checkpoint_choice="last step",
    notes=f"checkpoint {folder.name}",
)
print("checkpoint:", pretrain.shown(folder, results_dir))
