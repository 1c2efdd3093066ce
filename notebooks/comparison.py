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
# # Six methods on equal terms
#
# Five papers, each better than MERL by its own account, each with its own data, schedule, encoder and prompts. Printed
# side by side their numbers do not say which *idea* helps. This chapter compares the ideas: every method learns from
# the same pairs, for as many steps of as many pairs, with an ECG encoder of about the same size, the same frozen report
# encoder and the same prompts, and each is trained anew for every seed.
#
# The answer holds for this small scale and these data. It is no verdict on the papers, whose models saw 770,000 real
# pairs.

# %% [markdown]
# **At a glance**
#
# | | this chapter |
# |---|---|
# | methods | every paper that has a file in `ecglib/papers` |
# | equal | pairs, steps, batch, report encoder, prompts, test records |
# | about equal | ECG encoder parameters: within 15 % in profile `demo`, which is checked; else the papers' own sizes |
# | different | what the papers add: losses, masks, decoders, queries, texts, stages |
# | repeated | per seed: simulated records, initial weights, order of the pairs |
# | read from | run records of the zero-shot chapters; nothing is trained unless `run_missing` is set |
#
# One run takes four to five minutes on two cores for every method and seed that has no record yet.

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seeds: str = "0,1,2"  # the seeds compared, at least three
run_missing: bool = False  # train and score what has no record; else their commands are named
data_root: str = ""  # folder of the PTB-XL originals, needed only to score real records that have no run yet
results_dir: str = "results"  # where the records are, and where figures, tables and this run's record go
seed: int = 0  # of nothing here; the seeds compared stand above

# %%
import pandas as pd
from IPython.display import Markdown, display

from ecglib import comparison, figures, papers
from ecglib.chapters import side_by_side
from ecglib.run import start

run = start("comparison", globals())
stems = papers.stems()
records = side_by_side.records(run, stems)

# %% [markdown]
# ## Equal terms
#
# The records themselves are held to it: for each seed the fingerprints of the training pairs and of all test sets must
# agree between methods, and so must steps and pairs seen. FG-CLEP's two stages together take the steps that the
# others take in one. What remains different is shown: sizes, and the peak learning rate where a paper's file asks for
# another.

# %%
side_by_side.terms_table(run, stems, records)

# %% [markdown]
# The ECG encoders have about as many parameters, but not the same cost: a convolution slides over every sample, a
# transformer reads far fewer tokens. Parameters were held equal because that is how the papers' own tables are built;
# {doc}`/book/run_it` says where the speeds are measured.

# %% [markdown]
# ## Scores
#
# With $a_{m,k}$ the mean macro AUC of method $m$ over the tasks under seed $k$ of $K$, a row shows
# $\bar a_m = \frac1K \sum_k a_{m,k}$ and Student's 95 % interval $\bar a_m \pm t_{K-1}\, s_m / \sqrt K$. On simulated
# records a seed draws everything anew, test records included, so the interval covers all of it. On the real PTB-XL
# records the test set is the same for every seed: the interval there covers training alone. The sampling noise of so
# few records comes on top, the same for all methods; each zero-shot chapter has it.

# %%
scored = side_by_side.scores(records)
means = {name: comparison.over_seeds(table) for name, table in scored.items()}
rows = side_by_side.metric_rows(means, records)
_ = run.save_table(pd.DataFrame(rows), "metrics")

# %%
names = side_by_side.in_order(stems, means)
fig = figures.seed_dots(side_by_side.panels(scored, means), names)
run.save_figure(fig, "means")
figures.show(fig)

# %% [markdown]
# Open dots are seeds, diamonds their mean, bars the interval, the dotted line is chance. The *random encoder* is the
# mean over untrained networks of all methods.

# %%
for name, table in means.items():
    display(Markdown(f"**{name}**"))
    display(figures.score_table(side_by_side.as_scores(table, names)))

# %% [markdown]
# ## Which differences are significant
#
# Two methods are compared seed by seed: $d_k = a_{m,k} - a_{m',k}$, both with the same records and the same test set.
# A paired $t$ test asks whether the mean of $d_k$ is zero. There are many pairs, and with many questions some answer is
# *yes* by luck; Holm's adjustment keeps the chance of any such answer below 5 %. With few seeds only large or very
# steady differences pass. What does not pass is not shown by these seeds, however plausible its story; it may still
# be there.

# %%
pairs = {name: comparison.differences(table) for name, table in scored.items()}
for name, found in pairs.items():
    display(Markdown(f"**{name}.** {comparison.in_words(found, names)}"))

# %%
first = next(iter(pairs))
run.save_table(pd.concat([found.assign(panel=name) for name, found in pairs.items()]), "differences")
side_by_side.difference_table(pairs[first], names)

# %% [markdown]
# The table shows the first panel; `differences.csv` beside this chapter holds all of them.

# %% [markdown]
# ## Task by task
#
# A mean over six tasks hides where an idea helps. The same seeds, one task a column, are in the tables above; the
# largest steady difference of each task from MERL, the baseline, stands below. Fifteen pairs on six tasks are many
# questions: read a single task as a hint, not as a finding.

# %%
side_by_side.against_baseline(scored[first], "merl", names)

# %% [markdown]
# ## Try it
#
# * `seeds = "0,1,2,3,4"` with `run_missing = True`: five seeds halve the interval, at twenty-odd more minutes a seed.
# * `profile = "gpu"` on a machine that has one: the papers' encoders, 100,000 pairs.
# * A new file in `ecglib/papers` with its two notebooks appears here without a change to this one.

# %%
side_by_side.record(run, rows, records)
