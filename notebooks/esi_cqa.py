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
# # ESI: the Cardio Query Assistant
#
# «Right bundle branch block» says what, not how it looks. ESI's first step, the Cardio Query Assistant (CQA), looks
# each condition up in ECG literature and lets a language model write down the waveform behind it. The claim under test:
# with more retrieved (table 7), and from more of the literature (table 8), descriptions come closer to those that
# humans wrote, and with them pre-training gets better (table 5a: 0.928 against 0.901 without CQA) {cite:p}`esi`.
#
# This chapter makes the texts and measures them. {doc}`The next one </results/esi_pretrain/esi_pretrain>` learns from
# them.

# %% [markdown]
# **At a glance**
#
# | | paper | this chapter by default |
# |---|---|---|
# | literature | two textbooks | the project's knowledge base, written from published standards |
# | vectors, search | text-embedding-ada-002, Chroma | MiniLM, exact search with FAISS |
# | language model | GPT-3.5 | the knowledge base itself, by rule; a server or a local model with `backend` |
# | top k | 2 | 2 |
# | measured by | BERTScore against 28 human descriptions | right finding among the top k; likeness to released texts |
# | machine | | two CPU cores, about two minutes |
# | left out | | BERTScore: neither RoBERTa-large nor the 28 references are here |

# %% tags=["parameters"]
profile: str = "demo"  # demo, gpu or paper: how many simulated records give statements
seed: int = 0  # of simulated records, of the statements drawn and of intervals
dataset: str = "simulated"  # simulated, mimic-iv-ecg or ptb-xl: the records whose texts are made
data_root: str = ""  # folder with the original files of dataset; needed unless it is simulated
mixture: str = "mimic-iv-ecg"  # mimic-iv-ecg alone, or all: with PTB-XL and CSN
ptbxl_root: str = ""  # folder with PTB-XL's files; for mixture all on real records
csn_root: str = ""  # folder with CSN's files; for mixture all on real records
results_dir: str = "results"  # where the descriptions, tables and the run record go
n_records: int = 0  # records; 0: the profile's number
top_k: int = 2  # sections retrieved per statement (table 7)
backend: str = "knowledge"  # who writes: knowledge, local:<folder>, http://<server>/v1#<model>
references: str = ""  # JSON file, statement -> description by others: for scoring only, never read by the method
n_statements: int = 1000  # at most so many statements are scored

# %%
import json

import numpy as np
import pandas as pd

from ecglib import chapters, cqa, cqa_scores, datasets, knowledge, mixtures, pretrain
from ecglib.chapters import pretraining
from ecglib.paths import expand, sha256_of
from ecglib.reports import clean
from ecglib.run import data_entry, start
from ecglib.text import TextEncoder
from ecglib.text_models import OFFLINE

choices = {"dataset": pretraining.LEARNABLE, "mixture": tuple(mixtures.MIXTURES)}
run = start("esi_cqa", globals(), choices=choices)

# %% [markdown]
# ## Statements
#
# A cart prints several statements per record, and few distinct ones over all. Statements about the machine («analysis
# error», «age not entered») are dropped here. That matters: among the texts that the authors released, the note that
# sex and age were not entered is described as an anteroseptal infarct, and a failed analysis got the model's refusal.
# PTB-XL and CSN give the names of their labels instead of a report, as in table 1 of the paper.

# %%
roots = {"ptb-xl": ptbxl_root, "csn": csn_root} | {dataset: data_root}
store, kind = mixtures.pretraining_mixture(mixture, profile, dataset, roots, seed, n_records)
held_out = datasets.held_out_pairs(profile, dataset, data_root, seed)
per_record = cqa.statements_of(store, dataset) + cqa.statements_of(held_out, dataset)
statements = [statement for row in per_record for statement in row]
counts = {"records": len(per_record), "statements": len(statements), "distinct statements": len(set(statements))}
pd.DataFrame({"here": counts})

# %% [markdown]
# ## Knowledge base
#
# A section for every finding: its definition, criteria lead by lead, waveform features, the names that reports use, and
# what it can be mistaken for. All of it is searched; the waveform features are what the language model reads.

# %%
assistant = cqa.Assistant(TextEncoder(OFFLINE), top_k, model=backend)
kinds = pd.Series([cqa.aspect(passage) for passage in assistant.searched], name="passages").value_counts()
print(f"{len(assistant.sections)} sections, {len(assistant.read)} of them with waveform features")
kinds.to_frame()

# %% [markdown]
# ## Retrieve, then describe
#
# A statement $c$ becomes the paper's question $q(c)$, «How is $c$ reflected in a 12-lead ECG?» (section 3.1.2). With
# $v$ the text vectors, a section $s$ with passages $p \in s$ is as near as its nearest passage,
#
# $$\mathrm{score}(s \mid c) = \max_{p \in s} \cos\big(v(q(c)),\ v(p)\big),$$
#
# and the `top_k` best are handed on. Two rules keep inventions out. Where the statement's own findings are known,
# sections on others are put aside. And whatever a language model answers, a sentence is kept only if the passages it
# cites bear its words and its numbers (`ecglib/report_tasks.py`). A statement for which nothing is left keeps its own
# words; one that denies what it names («no ST elevation») is not asked about.

# %%
chapters.source(cqa.Assistant.retrieve, cqa.Assistant.describe, cqa.Descriptions.text)

# %%
described = assistant.describe(statements)
texts = cqa.texts(store, dataset, described)
written = described.save(run.folder / "descriptions.jsonl")
became = pd.Series([entry.status for entry in described.entries.values()]).value_counts()
became.rename("distinct statements").to_frame()

# %% [markdown]
# One record on clinical paper, with the text that pre-training reads: demographics, statements, waveforms (figure 2 of
# the paper shows the same for one of its own).

# %%
row = int(np.argmax([len(set(found)) for found in cqa.statements_of(store, dataset)]))
chapters.show_ecg(store, row, "A record and its text", texts[row])

# %% [markdown]
# ## Known truth: statements about the machine
#
# None of these may come out as a finding.

# %%
machine = (
    "** INTERPRETATION MADE WITHOUT KNOWING PATIENT'S GENDER/AGE **",
    "Analysis error",
    "Pediatric ECG interpretation",
    "*** Unconfirmed Analysis ***",
)
silent = cqa.Assistant(assistant.encoder, top_k).describe(machine).entries  # by rule, whatever `backend` is
invented = [text for text in machine if silent[text].text or clean(text)]
if invented:
    raise AssertionError(f"described although it says nothing of a heart: {invented}")
rows = {text: {"left after cleaning": clean(text), "described as": silent[text].text} for text in machine}
pd.DataFrame(rows).T.replace("", "nothing")

# %% [markdown]
# ## Is the right section found? (tables 7 and 8)
#
# For each statement the findings are read from its words by rule, without vectors. Counted is whether one of them is
# among the top $k$ sections; chance is $k$ random sections. Then, for the `top_k` in use: the paper's other wordings of
# the question (appendix A.3 finds F1 unmoved, SD 0.0003), the bare statement, and a search of parts of the sections
# only, in the place of one textbook or the other (`n` is smaller there: not every section has every part). With
# `references` the statements are those of that file, else those of the records above.

# %%
given = json.loads(expand(references).read_text(encoding="utf-8")) if references else {}
reference = {clean(name): text for name, text in given.items() if clean(name)}
pool = sorted(reference or set(statements))
chosen = sorted(np.random.default_rng(seed).permutation(pool)[:n_statements].tolist())
ks = sorted({1, 2, 3, 4, 5, top_k})
table = cqa_scores.retrieval_table(assistant, chosen, ks).assign(setting=[f"right section, top {k}" for k in ks])
table[["setting", "value", "ci_low", "ci_high", "chance", "n"]].round(1)

# %%
others = {f"question: {q}": {"question": q} for q in (*cqa.REPHRASED, "{condition}")}
others |= {f"searched: {name}": {"aspects": (name,)} for name in ("names", "definition", "criteria", "features")}
parts = []
for name, options in others.items():
    other = cqa.Assistant(assistant.encoder, top_k, **options)
    parts.append(cqa_scores.retrieval_table(other, chosen, (top_k,)).assign(setting=f"top {top_k}, {name}"))
variants = pd.concat(parts, ignore_index=True)
variants[["setting", "value", "ci_low", "ci_high", "chance", "n"]].round(1)

# %% [markdown]
# ## Like the released descriptions?
#
# The authors released a description for 3,862 statements of MIMIC-IV-ECG, written by their pipeline: not a truth, and
# some are wrong, but the same task done by others. Likeness is ROUGE-L and the cosine of MiniLM vectors, to the
# reference of the same statement and, as the level of chance, to that of another one. Shown with `references` only.

# %%
likeness = pd.DataFrame(columns=["measure", "against", "value", "ci_low", "ci_high", "n"])
if reference:
    ours = assistant.describe(chosen)
    likeness = cqa_scores.likeness(ours, reference, assistant.encoder.pooled, seed)
likeness.round(1)

# %% [markdown]
# ## Try it
#
# * `backend = "http://localhost:8000/v1#NAME"` lets a language model write. What it says beyond the passages is
#   dropped; the run record counts how often.
# * `top_k = 5`: more findings of a compound statement are described, and the texts grow.
# * Give the file named below as `texts` of the next chapter, and it learns from these very texts.
#
# Deviations from the paper stand in {doc}`the pre-training chapter </results/esi_pretrain/esi_pretrain>`.

# %%
named = "mimic-iv-ecg" if reference or dataset == "simulated" else dataset
scored_kind = "subset" if reference else kind  # real statements, but not all
metrics = cqa_scores.metric_rows("esi", named, scored_kind, (table, variants), likeness)
used = {"texts": data_entry(kind, store, "describe", statements=len(set(statements)))}
if reference:
    used["references"] = {"kind": "subset", "fingerprint": sha256_of(reference, 16), "role": "test"}
    used["references"] |= {"counts": {"records": len(chosen)}}
run.save_table(pd.DataFrame(metrics), "metrics")
answers = described.about["answers"]
notes = f"knowledge {knowledge.content_hash()}; texts {described.fingerprint}; model {answers['model']['model']}"
run.record(metrics, data=used, notes=f"{notes}; parts of answers dropped: {answers['dropped']}")
print("descriptions:", pretrain.shown(written, results_dir))
