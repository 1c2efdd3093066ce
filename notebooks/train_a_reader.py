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
# # Training a reader
#
# The chapters before this one compare methods. This one makes a thing to use: a *reader* that takes any 12-lead ECG and
# gives a probability for each SCP statement, all 71 where none is too rare to be calibrated. It takes from the methods
# what reading needs and no more: the contrast of whole reports of MERL {cite:p}`merl`, and the question after every
# cardiac entity of K-MERL {cite:p}`k_merl`. It is trained on simulated ECGs and simulated reports, then cut down to the
# ECG side of the network, one vector per statement, and one curve per statement that turns a cosine into a probability.
#
# **No real record is opened**, neither in training nor in choosing anything; a test of this project holds that its code
# imports no loader of records, and watches which files a short training opens. The simulator itself knows of real
# hearts what is in textbooks, and how large and in which direction their waves usually are: those sizes were fitted to
# recordings without their labels, which the table below names; {doc}`the protocol </book/protocol>` tells what part
# labels and earlier scores had. What a reader is worth on real patients is for labelled records to say.
#
# **At a glance**
#
# | | this chapter |
# |---|---|
# | learns from | simulated ECGs at 100 Hz with simulated cart reports |
# | calibrated on | other simulated ECGs, of another population, whose prevalences the probabilities have |
# | checked on | fresh simulated ECGs that neither has seen |
# | machine | two CPU cores with `recipe = "demo"`; the table below says how long |
# | result | a folder of two megabytes that needs no text encoder and no network |

# %% tags=["parameters"]
recipe: str = "demo"  # demo (two CPU cores, minutes) or longer (more records and passes; better with a GPU)
seed: int = 0  # of everything random: records, weights, order
profile: str = "demo"  # how many fresh records and untrained networks it is checked with: demo, gpu or paper
results_dir: str = "results"  # where reader, figures, tables and the run record go
n_records: int = 0  # records to learn from; 0: the recipe's number
epochs: int = 0  # passes over them; 0: the recipe's number
n_calibration: int = 0  # records for the curves; 0: the recipe's number
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
import pandas as pd

from ecglib import chapters, figures, probability
from ecglib.chapters import training_a_reader as chapter
from ecglib.reader import Reader
from ecglib.recipes import RECIPES
from ecglib.run import start

run = start("train_a_reader", globals(), choices={"recipe": RECIPES})
plan = chapter.recipe_of(run)
chapter.recipe_table(plan)

# %% [markdown]
# ## Training
#
# The loss has two terms. The first pulls an ECG towards its own report and away from the others of the batch; it says
# little about a finding that many reports name. The second asks for each of the knowledge base's entities, with its
# name as the text: is it named in this record's report? An entity $q$ is asked of record $i$ by the logit
#
# $$\ell_{iq} = e^{t} \cos(z_i, z_q) + b + u_q,$$
#
# with learned scale $t$ and bias $b$, and $u_q$, linear in the name's frozen vector, for how often it is named at all.
# The answer is taken from the report, as K-MERL does it, so what a report leaves out counts as absent.
#
# Nothing stops early and no checkpoint is chosen: the last step is taken. A run that is killed goes on
# where it was when this notebook is started again. After training the statements are embedded: the vector of a
# statement is the mean of the unit vectors of its prompts, which were written before any scoring. Then the text side is
# dropped.

# %%
made = chapter.train(run, plan)

# %% [markdown]
# ## From a cosine to a probability
#
# A cosine $s$ ranks records but is no probability. For each statement Platt's curve
#
# $$P(\text{shown} \mid s) = \frac{1}{1 + e^{-(a s + b)}}$$
#
# is fitted to simulated records that training did not see: two numbers per statement, by logistic regression. The curve
# takes over how common the statement is *in those records*. Where it is rarer, the true probability is lower. The
# population is named in the reader's `config.json`, with every prevalence.

# %%
chapters.source(probability.platt_curve, Reader.scores, Reader.superclasses)

# %% [markdown]
# ## Do the probabilities hold?
#
# Fresh simulated records, of the same population and another seed. If the reader says 30 %, three in ten of those
# records should show the statement: the points should lie on the dotted line. The expected calibration error (ECE) is
# the mean distance from that line, each prediction counting once. Most statements are rare, so most predictions lie in
# the lowest bin and the error over all statements is small by itself; the superclasses are the harder test.
#
# A superclass is called by *any of its statements*, $1 - \prod (1 - p)$, as if they were independent. They are not, and
# the right panel shows what that costs.

# %%
checked = chapter.check(run, made)
held = chapter.calibration(run, checked)

# %%
chapter.superclass_table(run, checked)

# %% [markdown]
# ## Can it tell them apart?
#
# The area under the ROC curve (AUC) does not depend on the curves: it asks how often a record that shows the statement
# gets a higher cosine than one that does not. Two rows keep it honest. *Chance* is random scores on the same labels. A
# *random encoder* is the same network, untrained; the range beside it is 1.96 standard deviations between networks.
# Other intervals resample whole patients.

# %%
scored = chapter.statement_aucs(run, made, checked)
metrics = chapter.metric_rows(run, checked, scored, held)
figures.score_table(pd.DataFrame(metrics).query("metric == 'macro_auc'"))

# %% [markdown]
# Statement by statement, best first. *Chance, up to* is the value that random scores stay below in 97.5 of 100 draws;
# it is high where few records show the statement.

# %%
chapter.statement_table(scored)

# %% [markdown]
# ## Reading the result

# %%
chapter.reading(checked, scored, held)

# %% [markdown]
# ## Try it
#
# * `recipe = "longer"` learns from four times as many records. Which statements gain?
# * `seed = 1` makes another reader, in a folder of its own. What moves by less than the interval is noise.
# * Another chapter reads one record with it: `papermill notebooks/read_an_ecg.ipynb -p path my_record.csv`.
#
# The record of this run is written last.

# %%
chapter.record(run, made, checked, metrics)
