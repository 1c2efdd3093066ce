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
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from ecglib import datasets, figures, knowledge, pretrain, results
from ecglib import evaluate as ev
from ecglib.profiles import get_profile
from ecglib.run import data_entry, start
from ecglib.signals import parse_leads

scorable = ["simulated", *datasets.TASKS_OF]
run = start("deri_zero_shot", globals(), choices={"dataset": scorable})
stores = datasets.evaluation_stores(profile, dataset, data_root, seed)

# %% [markdown]
# ## Model
#
# A folder with `model.safetensors` and `config.json`. It loads strictly: a missing or surplus weight, another paper's
# checkpoint or another text encoder is an error. The checkpoint is the last step of pre-training. (The released code of
# MERL and DERI instead keeps the epoch with the best zero-shot score on 9,704 *labelled* validation records of the very
# tasks to be scored.)

# %%
model, made_by = pretrain.pretrained("deri", profile, seed, checkpoint, results_dir)
pd.DataFrame(
    {
        "model": {
            "pre-trained on": f"{made_by['dataset']} ({made_by['data_kind']})",
            "pairs seen": f"{made_by['training']['steps'] * made_by['training']['effective_batch']:,}",
            "text encoder": made_by["text_encoder"]["name"],
            "weights": made_by["weights_sha256"][:12],
        }
    }
)

# %% [markdown]
# ## Data
#
# Six tasks from three sets. A record without any label of a task takes no part in it. The counts of the paper's test
# sets (its table 8) stand beside those scored here.

# %%
stores = datasets.unseen_by(made_by["dataset"], stores)
in_paper = results.reported("deri").query("exhibit == 'table-8' and metric == 'n_test'")
views = {task: stores[name].task(task) for name in stores for task in datasets.TASKS_OF[name]}
tasks = [task for task, (view, _, _) in views.items() if len(view)]
print("tasks without a labelled record:", ", ".join(task for task in views if task not in tasks) or "none")
pd.DataFrame(
    {
        "classes": {task: len(views[task][2]) for task in tasks},
        "records here": {task: len(views[task][0]) for task in tasks},
        "classes with a record": {task: int(views[task][1].any(axis=0).sum()) for task in tasks},
        "test records in the paper": in_paper.set_index("dataset")["value"].reindex(tasks),
    }
)

# %%
name, store = next(iter(stores.items()))
fig = figures.plot_ecg(
    store.read([0])[0],
    store.sampling_rate_hz,
    title=f"First record of {name}, {'simulated' if dataset == 'simulated' else 'real'}",
    report=store.records["report"][0],
)
figures.show(fig)

# %% [markdown]
# ## Prompts
#
# Two ways to say a class. Its *name*, which needs no thought and is what K-MERL feeds its query network. And *clinical
# prompts*: how a cart would print the finding, and the waveform behind it. The vector of a class is the mean of its
# prompts' unit vectors. No real record was used in writing them; their hash stands in the run record.

# %%
prompt_sets = {
    f"zero-shot, {label}": {task: knowledge.prompt_set(task, kind) for task in tasks}
    for label, kind in (("clinical prompts", "clinical"), ("class names", "name"))
}
shown = tasks[0]
rows = [
    {"class": cls, "name": knowledge.class_name(shown, cls), "clinical prompts": "; ".join(prompts[:4]) + " ..."}
    for cls, prompts in knowledge.prompt_set(shown, "clinical").items()
]
pd.DataFrame(rows[:6]).style.hide().set_properties(**{"text-align": "left"}).set_uuid("prompts")

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
used = None if leads == "all" else parse_leads(leads)
found = ev.zero_shot_sets(
    model, stores, datasets.TASKS_OF, prompt_sets, used, repeats=n_bootstrap, seed=seed
)
left_out = {r.task: r.auc.left_out for r in found if r.auc.left_out}
print("left out, no positive record:", left_out or "none")

# %% [markdown]
# ## Known truth: what knows nothing
#
# Two rows keep the table honest. *Chance* is random scores on the same labels: 50 on average, and its range shows how
# far luck alone can go with so few positives. A *random encoder* is the same network, untrained, scored in the same
# way. Its features follow the signal, so one network can land well above or below 50 by accident of its prompts; the
# mean over very many would be 50, the mean over the few here may miss it by some points. The range beside it is 1.96
# standard deviations between networks, not an interval over patients.

# %%
kinds = {name: datasets.evaluation_kind(store, dataset) for name, store in stores.items()}
(kind,) = set(kinds.values())
untrained = [
    ev.zero_shot_sets(
        pretrain.rebuild(model, seed=1_000 + number), stores, datasets.TASKS_OF, prompt_sets, used, repeats=2
    )
    for number in range(get_profile(profile).random_encoders)
]
method = pretrain.method_name("deri", made_by["variant"], made_by["dataset"])
metrics = [ev.metric_row(method, kind, result) for result in found]
metrics += ev.random_encoder_rows(kind, untrained)
metrics += ev.chance_rows(kind, found, seed=seed)

# %%
table = pd.DataFrame(metrics)
run.save_table(table, "metrics")
figures.score_table(table)

# %% [markdown]
# ## Reported beside reproduced
#
# The paper's average and this run's, each with its interval where there is one. Open markers are what a paper reports,
# filled markers what was run here. The verdict is computed: numbers on simulated data or on a subset are never
# comparable with the paper's, however close they lie.

# %%
used_data = {name: data_entry(kinds[name], store, "test") for name, store in stores.items()}
used_data["pretrain"] = made_by["data"]
printed = results.reported("deri").query("exhibit == 'figure-3'")
compared = results.compare(printed, run.as_runs(metrics, used_data))
fig = figures.reported_vs_reproduced(compared)
run.save_figure(fig, "reported_vs_reproduced")
display(figures.show(fig))
figures.score_table(compared)

# %% [markdown]
# ## Class by class
#
# A macro mean hides which diagnoses carry it. The bars are AUCs of single classes with their intervals; the number of
# positive records stands beside each, and where it is below ten the interval says little.

# %%
per_class = ev.class_table(found)
run.save_table(per_class, "per_class")
first_setting = found[0].setting
for task in tasks:
    of_task = per_class.query("task == @task and setting == @first_setting")
    fig = figures.auc_bars(of_task, title=task)
    run.save_figure(fig, f"classes_{task.replace('-', '_')}")
    display(figures.show(fig, dpi=120))

# %% [markdown]
# ## Reading the result

# %%
by_prompt = {s: np.mean([r.auc.value for r in found if r.setting == s]) for s in prompt_sets}
(clinical, names) = by_prompt.values()
chance_high = max(m["ci_high"] for m in metrics if m["method"] == "chance")
weakest = per_class.query("setting == @first_setting and positives >= 10").nsmallest(3, "auc")
strongest = per_class.query("setting == @first_setting and positives >= 10").nlargest(3, "auc")


def listed(rows):
    return ", ".join(f"{r['class']} ({r['task']}) {r['auc']:.1f}" for _, r in rows.iterrows())


display(
    Markdown(
        f"Mean over the {len(tasks)} tasks: **{clinical:.1f}** with clinical prompts, **{names:.1f}** with class names "
        f"(data: {kind}). Random scores stay below {chance_high:.1f} in 97.5 of 100 draws on every task.\n\n"
        f"Strongest classes with at least ten positive records: {listed(strongest)}. Weakest: {listed(weakest)}.\n\n"
        "A class whose whole interval lies below 50 is ranked the wrong way round: to the model, prompt and finding "
        "disagree."
    )
)

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
# Simulated scores can be made again from the seed; those on real records are kept.
path = run.folder / f"predictions-{run.run_id}.parquet"
predictions = ev.save_predictions(path, found) if dataset != "simulated" else None
written = run.record(
    metrics,
    data=used_data,
    model=model.config,
    training=made_by["training"],
    checkpoint_choice=made_by.get("checkpoint_choice"),
    predictions=predictions,
    notes=f"prompts {knowledge.knowledge_hash()}; leads {leads}; weights {made_by['weights_sha256'][:12]}",
)
