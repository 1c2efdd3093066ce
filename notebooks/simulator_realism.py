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
# # How real are the simulated ECGs?
#
# Whoever learns from simulated ECGs learns the simulator. What it gets wrong becomes what the reader gets wrong on a
# real tracing. This chapter measures that gap in two ways: directly, as the difference between simulated and real
# records measured by one rule, and by what it costs, the score on real records of a reader that has seen simulated
# ones alone.
#
# **At a glance**
#
# | | |
# |---|---|
# | default | two simulated cohorts set beside each other, as a demonstration that needs no real data |
# | real records | `dataset = "ptb-xl"` with `data_root`; other hospitals with `challenge_root` and `cpsc2018_root` |
# | compared by | intervals, axes, amplitudes of every wave and lead, spectrum and noise |
# | telling apart | boosted trees, cross-validated over patients; 50 is alike, the aim is 75 or less |
# | transfer | AUC of every SCP statement with five positive records or more, and of the five superclasses |
# | machine | two CPU cores, a few minutes |
#
# Labels of real records are read for two things: to score, and to set a simulated population with the same mixture of
# superclasses beside the real one. No value of the reader or this chapter is chosen by them; of the simulator one
# range was set by a sum of labels in its first version: see [the protocol](../../book/protocol).

# %% tags=["parameters"]
profile: str = "demo"  # demo (two CPU cores), gpu (one GPU), paper
seed: int = 0  # of simulated records, cross-validation, untrained readers and the bootstrap
dataset: str = "simulated"  # simulated (two cohorts as a demonstration) or ptb-xl: the records to compare with
data_root: str = ""  # folder with the original files of PTB-XL; needed unless dataset is simulated
challenge_root: str = ""  # folder with records of the CinC Challenges 2020 and 2021; empty: left out
statements_root: str = ""  # folder with statements of MIMIC-IV-ECG (esi_statement_descriptions.json); empty: left out
cpsc2018_root: str = ""  # folder with CPSC2018 in its original form; empty: left out
results_dir: str = "results"  # where figures, tables and the run record go
reader: str = "results/reader"  # folder of a trained reader; where the usual one is missing, transfer is left out
n_simulated: int = 600  # simulated records per cohort
n_bootstrap: int = 1000  # resamples of the patients for each interval

# %%
from IPython.display import Markdown, display

from ecglib import figures
from ecglib.bookreader import scored_table
from ecglib.chapters import mistakes, other_hospitals, transfer, words
from ecglib.chapters import realism as gap
from ecglib.run import start
from ecglib.tables import set_out

run = start("simulator_realism", globals(), choices={"dataset": gap.COMPARABLE})
the_reader = transfer.open_reader(run)  # a folder that is not there stops the run here

# %% [markdown]
# ## What is compared
#
# Both sides are read at 500 Hz and measured by `ecglib.delineate`, which does not know how a record came about. One
# in which no two whole beats are found cannot be measured; how many these are is counted, since a simulator could
# hide its failures there. The simulated PTB-XL set beside real records has each statement as often as the published
# counts of PTB-XL say.

# %%
sides = gap.sides(run)
gap.what_is_compared(sides)

# %% [markdown]
# ## Distributions
#
# Intervals and axes as shares of the records. Amplitudes and spectra as spans: the marker is the median, the thick
# line the quartiles, the thin line 5 to 95 in a hundred. A span that is too narrow is as wrong as one in the wrong
# place: a reader then meets real tracings outside of everything it has seen.

# %%
distances = gap.distributions(run, sides)

# %% [markdown]
# The table lists what lies farthest apart. The distance is the mean shift that would carry one distribution into the
# other (Wasserstein's), in units of the first side's interquartile range, of amplitudes at least 0.05 mV: most records
# have no Q in most leads. Medians stand with 5 to 95 %.

# %%
gap.farthest(distances, sides.names)

# %% [markdown]
# ## Can a classifier tell?
#
# A distribution can fit lead by lead and still be wrong as a whole: the R wave of one heart with the S wave of
# another. Trees (`ecglib.realism.two_sample_auc`) see combinations. They learn from four fifths of the patients to
# tell simulated from real and are scored on the fifth; an AUC of 50 means that they learned nothing, as with two
# halves of one cohort. The test is strict: 100 says only that *something* gives the simulator away, be it a filter
# that no physician would notice.
#
# Two simulated populations are shown. A cohort has its own mixture of diagnoses, and the difference from that of the
# real records is no fault of its waves. So the second population weights its records until every combination of
# superclasses that it has is as frequent as among the real ones.

# %%
told = gap.told_apart(run, sides)

# %% [markdown]
# ## By what?
#
# How far one measurement alone goes, the most telling first. Shuffling a measurement among the held-out records costs
# its group's trees the points that the table `importances` lists; where several say the same, none of them seems to
# matter, so both numbers are kept.

# %%
told_by = gap.told_by(run, told)

# %% [markdown]
# ## Transfer
#
# The same gap in the unit that counts. The reader was trained on simulated ECGs alone and answers for every SCP
# statement; its scores on real records stand beside those on simulated ones of the same kind, untrained readers of
# the same shape (their mean, below it the lowest and the highest) and chance. Other intervals resample patients. Aims
# are for real records; they were set before a reader was scored on these, though other methods had been.
#
# PTB-XL's 333 records were scored with earlier readers as well. With real records the last table lists every run that
# was recorded; two before them, with superclasses at 83.4 and 78.4, were not. Sizes in the simulator, and how a reader
# learns, were decided by simulated records, published criteria and unlabelled signals. Yet who has seen a score has
# seen it: where the simulator was looked at again (anterior infarcts, T waves that turn over) was in part suggested by
# statements that scored low here. Records that nobody here has scored are the better test.

# %%
scored = None
if the_reader is not None:
    scored = transfer.transfer(run, the_reader, sides.stores, sides.names, sides.kind)
    fig = transfer.statement_figure(scored.real[transfer.STATEMENTS], f"Statements, {sides.names[0]}")
    run.save_figure(fig, "statements")
    display(figures.show(fig), set_out(transfer.transfer_table(scored), ["what"]))
    if dataset == "ptb-xl":
        display(set_out(scored_table(run.results_dir), ["run", "commit", "reader"], "Earlier runs"))

# %% [markdown]
# ## Words
#
# A reader learns from pairs, so the words have a gap as well. Each distinct statement of real carts is looked for in
# simulated reports, word for word and by its words. The grammar behind them was written with three quarters of the real
# statements in view; the others were held out. Statements that would be untrue here, such as a rhythm that the
# simulator cannot show, are never produced.

# %%
said_by_carts = words.compared(run)

# %% [markdown]
# ## Other hospitals
#
# Other recorders, other filters, other habits of writing. The Challenge's records come from several hospitals, each
# with a list of statements of its own; a statement is scored among records of hospitals that use it. Its copies of
# PTB-XL records are left out. With few records an interval can span half of the scale, so the table also counts how
# many of the written statements are among the first five of the reader's list.

# %%
elsewhere = other_hospitals.stores(run)
read = other_hospitals.read(run, the_reader, elsewhere) if the_reader is not None else {}
if elsewhere:
    display(set_out(other_hospitals.parts(elsewhere), ["set", "source"]))
if read:
    display(set_out(other_hospitals.table(read), ["set"]))

# %% [markdown]
# ## The most wrong tracings
#
# What the reader says with the highest probability though it is not written, and what is written though it gives it
# the lowest probability. Each may be the reader's mistake, the simulator's behind it, or an omission of the one who
# wrote: a missing statement is not always a wrong one. One look at the paper often tells which.

# %%
if scored is not None:
    asked = scored.real[transfer.STATEMENTS]
    probabilities = transfer.answers(the_reader.probabilities, asked.of.store)
    _ = mistakes.show(run, asked, probabilities)

# %% [markdown]
# ## Reading the result
#
# Guesses first, at what may lie behind the numbers that follow. A statement that is weak on both sides may be the
# reader's own weakness: its words lie close to those of others, and its training is short. One that is weak on real
# records alone may be the simulator's, which draws the finding in fewer ways than hearts do, or the label's: not all
# that a tracing shows is written. Where trees tell the sides apart by the spectrum though each band alone says little,
# filters and converters have left patterns that are copied here for one make of recorder alone.

# %%
said = [gap.in_words(sides, told, distances), *words.in_words(said_by_carts)]
said += [transfer.in_words(scored), other_hospitals.in_words(read)] if scored is not None else []
Markdown("\n\n".join(said))

# %%
transfer.record(run, [*gap.rows(sides, told), *words.rows(said_by_carts)], sides, scored, elsewhere, read)
