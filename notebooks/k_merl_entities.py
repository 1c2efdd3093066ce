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
# # K-MERL: entities of reports
#
# A report is free text; what it says is a short list. K-MERL has a language model read the list out of every report and
# trains the ECG encoder to predict it, beside matching ECG and text: «present» or «not stated» for each of 277
# entities, such as «atrial fibrillation» or «inferior myocardial infarction» {cite:p}`k_merl`. The claim is that this
# structured knowledge spares the encoder the grammar of reports.
#
# This chapter makes that list. How well it is made bounds what can be learned from it, so the reading is measured
# against real reports where these are at hand.
# {doc}`The next chapter </results/k_merl_pretrain/k_merl_pretrain>` trains with it.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | reports | MIMIC-IV-ECG, 771,693 | simulated ones, written like a cart; real ones with `dataset`, `data_root` |
# | who reads them | Llama3.1-70B-Instruct | the knowledge base of this project; a language model with `backend` |
# | steps | extract, verify, merge, aggregate | the same four |
# | result | 341 names, 252 after merging, 25 superclasses, 277 entities | counted below |
# | measured | not reported | with `statements_root` and `ptbxl_files`: precision and recall on real text |
# | machine | not given | two CPU cores, about a minute |

# %% tags=["parameters"]
profile: str = "demo"  # demo, gpu or paper: how many reports are simulated
seed: int = 0  # of the simulated reports and of the bootstrap
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the reports to mine
data_root: str = ""  # folder with the original files; needed unless dataset is simulated
results_dir: str = "results"  # where the entity table, figures, tables and the run record go
n_records: int = 2000  # reports to mine; 0: the profile's number
backend: str = "knowledge"  # knowledge, local:<folder of a chat model>, or http://<server>/v1#<model>
merge_by: str = ""  # text encoder whose embeddings merge further names, such as medcpt; empty: none does
threshold: float = 0.95  # cosine above which merge_by takes two names for one
min_count: int = 1  # distinct reports that must name an entity
merge: bool = True  # False: names of one meaning stay apart (table 2c)
aggregate: bool = True  # False: no superclasses (table 2c)
uncertain: str = "absent"  # absent or present: what «possible X» counts as
statements_root: str = ""  # folder with statements of MIMIC-IV-ECG, to measure the reading on
ptbxl_files: str = ""  # PTB-XL metadata files or folders of them, comma between, to measure the reading on

# %%
import pandas as pd
import torch
from IPython.display import display

from ecglib import chapters, datasets, knowledge
from ecglib.chapters import pretraining
from ecglib.knowledge import entity_table, measure, mining
from ecglib.knowledge.extract import extract
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.run import data_entry, start
from ecglib.text import TextEncoder

run = start("k_merl_entities", globals(), choices={"dataset": pretraining.LEARNABLE, "uncertain": mining.UNCERTAIN})

# %% [markdown]
# ## What a mention is
#
# The knowledge base holds a vocabulary of entities: every SCP statement of PTB-XL, every class of CPSC2018, CSN and the
# PhysioNet/CinC Challenges, and what else reports name. Each has a name, synonyms in the manner of carts (and of
# PTB-XL's German reports), a superclass and waveform features.
#
# A mention is the longest phrase of the vocabulary at a place, with a status. «No», «without», «no longer» deny;
# «possible», «consider», «cannot rule out», «borderline» raise doubt, up to the end of what they govern: in «possible
# atrial flutter with PVCs» the flutter is doubted and the PVCs are stated. An infarction, injury or ischemia takes its
# site from the words around it, even from the finding it explains.

# %%
examples = [
    "Sinus rhythm with PACs. Possible left atrial enlargement. No ST elevation or LVH",
    "Inferior and lateral T wave changes may be due to myocardial ischemia",
    "Anteroseptal infarct, probably old. LAD, consider left anterior fascicular block",
    "Vorhofflimmern Linkstyp inferiorer Infarkt nicht auszuschliessen",
]
pd.DataFrame(
    {"report": report, "text": m.text, "entity": m.name, "status": m.status, "superclass": knowledge.superclass(m.code)}
    for report in examples
    for m in extract(report)
)

# %% [markdown]
# ## The four steps
#
# Section 3.4 of the paper asks a language model four questions.
#
# | step | the paper's question | here, `ecglib.report_tasks` |
# |---|---|---|
# | extract | all positive cardiac-related entities of a report | `ENTITIES`: every entity, with its status |
# | verify | are they existing and positive in the report | `VERIFY`: a verdict for each |
# | merge | names with the same meaning | `MERGE` |
# | aggregate | superclasses among the names | `SUPERCLASSES` |
#
# The order of the result $\mathcal Q = \{q_1, \dots, q_Q\}$ is fixed, subclasses first; report $\mathbf t_i$ has the
# label vector $\mathbf y_i \in \{0, 1\}^Q$ with a 1 for each entity that is present and positive, and for its
# superclass.
#
# A language model can leave an entity out, but it cannot bring one in: what it names must stand in the report, where
# the knowledge base finds it not denied.

# %%
chapters.source(mining.mine)

# %% [markdown]
# ## Mining
#
# A cart repeats itself, so each distinct report is asked about once. A report without a usable answer adds no entity,
# and an entity that does not stand in its report is dropped; both are counted. `merge_by` can merge names further by
# cosine of their embeddings. The paper uses such a cosine, with the same threshold, to decide which class names its
# entities already hold.

# %%
store = datasets.pretraining_store(profile, dataset, data_root, seed, n_records)
reports = store.records["report"].tolist()
encoder = TextEncoder(merge_by) if merge_by else None


def embed(names):
    """Pooled states of the names, (E, D)."""
    return encoder.pooled(names)


options = {"uncertain": uncertain, "merge": merge, "aggregate": aggregate}
mined = mining.mine(reports, backend, embed if merge_by else None, threshold, min_count, **options)
mined.save(run.folder / "entities.json")
name_of_table = entity_table.store(mined)
print(f"{len(reports):,} reports, {mined.stages['reports']:,} distinct; table {name_of_table} in entities.json")
print(mining.outcome(mined.stages))

# %% [markdown]
# No encoder merges by default. Here is why: cosines of a general text encoder, for names that mean opposites and for
# names that mean the same.

# %%
general = TextEncoder("minilm")
alike = pd.DataFrame(
    [
        ("left bundle branch block", "right bundle branch block", "opposites"),
        ("lvh", "left ventricular hypertrophy", "the same"),
    ],
    columns=["name", "other name", "they mean"],
)
names = zip(alike["name"], alike["other name"], strict=True)
alike["cosine"] = [torch.cosine_similarity(*general.vectors(pair), dim=0).item() for pair in names]
run.save_table(alike, "cosines")
alike.round(2)

# %% [markdown]
# The paper's counts stand beside those of this run. The simulator writes the findings of the label vocabulary, so it
# names fewer things than a hospital's carts. The knowledge base's own table, which needs no corpus and is what the next
# chapter takes by default, stands in the last column.

# %%
whole = mining.EntityTable.of_knowledge(uncertain)
labels = {
    "extracted": "names as written",
    "merged": "after merging",
    "superclasses": "superclasses",
    "entities": "entities",
}
counts = pd.DataFrame({"paper": mining.PAPER_COUNTS, "this run": {step: mined.stages[step] for step in labels}})
counts["knowledge base"] = {"superclasses": len(whole.superclasses), "entities": len(whole.entities)}
counts = counts.rename(index=labels).map(lambda n: "" if pd.isna(n) else f"{n:.0f}")
run.save_table(counts.rename_axis("step"), "counts")
counts

# %% [markdown]
# ## What reports state
#
# Labels are unbalanced: few entities stand in many reports, and many in few. The loss of the next chapter treats all
# columns alike.

# %%
y = mined.labels(reports)
share = pd.Series(100 * y.mean(0), index=mined.entities, name="percent of reports").rename_axis("entity")
of_class = set(mined.superclasses)
frequency = share.reset_index().assign(kind=["superclass" if e in of_class else "entity" for e in mined.entities])
run.save_table(frequency, "entity_frequency")
print(
    f"{y.sum(1).mean():.1f} labels per report; {(share < 1).sum()} of {len(share)} entities in less than 1 % of reports"
)
frequency.sort_values("percent of reports", ascending=False).groupby("kind").head(8).round(1)

# %% [markdown]
# ## Doubt and denial
#
# What the table leaves out is shown here: how often mentions are stated, doubted or denied. With `uncertain=present`
# the doubted ones count.

# %%
statuses = pd.Series([m.status for report in dict.fromkeys(reports) for m in extract(report)]).value_counts(
    normalize=True
)
(100 * statuses).round(1).rename("percent of mentions").to_frame()

# %% [markdown]
# ## How well is a real report read?
#
# Two references, of different kinds.
#
# **Statements of MIMIC-IV-ECG.** 3,862 distinct ones are public. The vocabulary and rules were written with one half in
# view. From the other half two samples were drawn, of 200 and of 120, and labelled by hand before any score was seen;
# entity *and* status must agree. The first was scored once, what it showed missing was added, and the second was scored
# with that. Numbers below are those of the code as it is now, which has seen both, so they flatter it. The statements
# are not part of this project; labels name them by hash.
#
# **Reports of PTB-XL and the SCP codes of the same record.** The codes are a cardiologist's view of the ECG and no
# transcript of the report: low voltage, below, is stated far more often than coded. This bounds any reading. Half of
# the patients is held out here too. Many of these reports are German, which is why the vocabulary has German synonyms.

# %%
measured = measure.real_references(statements_root, ptbxl_files)
scores = {m.what: m.scores(seed) for _, m in measured}
if not measured:
    print("no real text: give statements_root or ptbxl_files")
for what, table in scores.items():
    print(what)
    display(table.head(10).filter(regex="^(?!f1)").round(1))
    for low in table[table["entity"] == "LVOLT"].itertuples() if what.startswith("PTB-XL") else ():
        print(f"of {low.right + low.extra:,} reports that state or suspect low voltage, {low.right:,} carry its code")

# %% [markdown]
# Failures are kept by id, with what was found too much and what was missed.

# %%
failures = [m.failures().assign(reference=m.what) for _, m in measured]
if failures:
    run.save_table(pd.concat([t.assign(reference=what) for what, t in scores.items()]), "extraction_scores")
    run.save_table(pd.concat(failures), "extraction_failures")
    print(pd.concat(failures)["reference"].value_counts().to_string())

# %% [markdown]
# ## Try it
#
# * `-p backend "http://localhost:8000/v1#llama3.1"` asks a language model; its answers are kept, so a second run is
#   quick. Expect more names before merging.
# * `-p merge_by minilm` merges by the general text encoder whose cosines stand above: it joins «left» and «right bundle
#   branch block» and misses that «lvh» is «left ventricular hypertrophy».
# * `-p uncertain present` lets «possible inferior infarct» count as an infarct: more labels, of less certainty.
# * `papermill notebooks/k_merl_pretrain.ipynb -p entities results/k_merl_entities/entities.json` takes this table.
#
# ## What differs from the paper
#
# The paper's entities come from a language model and cannot be had; these come from a vocabulary that was written for
# this project. Verification is done for all entities of a report at once. How doubted mentions are treated is not said
# in the paper; «positive» is read as stated without doubt.

# %%
steps = {"extracted": "n_entities_extracted", "merged": "n_entities_merged", "superclasses": "n_superclasses"}
common = {"method": "data", "dataset": "mimic-iv-ecg" if dataset == "simulated" else dataset}
common |= {"data_kind": datasets.data_kind(store, dataset), "setting": "entity mining", "n": len(reports)}
metrics = [
    {**common, "metric": metric, "value": mined.stages[step], "evaluator_version": EVALUATOR_VERSION}
    for step, metric in {**steps, "entities": "n_entities"}.items()
]
for of, m in measured:
    metrics += measure.metrics(of, m, scores[m.what])
written = run.record(
    metrics,
    data={"mining": data_entry(common["data_kind"], store, "pretrain", distinct_texts=mined.stages["reports"])},
    notes=f"entity table {name_of_table}; {mining.outcome(mined.stages)}",
)
