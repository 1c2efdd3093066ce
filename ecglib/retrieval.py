"""Nearest and farthest neighbours among many vectors, with FAISS: exact, by cosine, in batches.

FAISS (Douze et al. 2024) is what C-MELT section 3.2 searches its negatives with. At the size of the problem here, some
180,000 distinct reports of width 512, an exact index answers 1,024 queries in about three seconds on two cores and has
nothing to tune, so nothing is approximated.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ecglib.errors import ParameterError

# Queries of one search: one matrix product for many is some forty times faster than as many single searches.
_BATCH = 1024


class Index:
    """An exact index over N vectors, compared by cosine.

    Args:
        vectors: (N, D) real numbers; normalised here, so that an inner product is a cosine. Row i has id i.

    Raises:
        ValueError: no rows, not two-dimensional, a value that is not finite, or a row of length zero.
    """

    def __init__(self, vectors: np.ndarray):
        import faiss  # on first use: it is not needed to import a paper

        unit = _unit_rows(vectors, "vectors")
        self.n, self.width = unit.shape
        # FAISS would start one thread per core of the machine, whatever this process may use.
        faiss.omp_set_num_threads(_threads())
        self._index = faiss.IndexFlatIP(self.width)
        self._index.add(unit)

    def __len__(self) -> int:
        return self.n

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k most alike, best first: (Q, D) -> cosines (Q, k) float32 and ids (Q, k) int64.

        Raises ValueError for queries of another width or with values that are not finite, and for a k not in 1..N.
        """
        return self._search(_unit_rows(queries, "queries"), k)

    def farthest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k least alike, most distant first: what `nearest` gives for the opposite direction."""
        cosines, ids = self._search(-_unit_rows(queries, "queries"), k)
        return -cosines, ids

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if queries.shape[1] != self.width:
            raise ValueError(f"queries have width {queries.shape[1]}, the index has {self.width}")
        if not 1 <= k <= self.n:
            raise ValueError(f"k lies in 1..{self.n}, the number of vectors, not {k}")
        parts = [self._index.search(queries[start : start + _BATCH], k) for start in range(0, len(queries), _BATCH)]
        return np.concatenate([cosines for cosines, _ in parts]), np.concatenate([ids for _, ids in parts])


class ReportNegatives:
    """Draws for a report another one that an ECG is to be told apart from: N3S of C-MELT, section 3.2.

    Args:
        embed: list of N strings -> (N, D), the space in which reports are compared: `TextEncoder.pooled` of a tower.
        how: "farthest" (as printed: the largest cosine distances), "nearest", or "random" (the report of any record,
            also one that says the same: what the paper's ablation without N3S does), or "none": every report stays.
        pool: among how many neighbours one is drawn; 64 in the paper.

    The neighbours of every report that ``prepare`` was given are searched once. A report that it was not given is
    looked up among those when it is drawn for. Without ``prepare``, the reports of a call are each other's corpus.
    """

    HOW = ("farthest", "nearest", "random", "none")

    def __init__(self, embed: Callable[[Sequence[str]], np.ndarray], how: str = "farthest", pool: int = 64):
        if how not in self.HOW:
            raise ParameterError(f"negatives are one of {', '.join(self.HOW)}, not '{how}'")
        if pool < 1:
            raise ParameterError(f"negatives are drawn among at least one report, not {pool}")
        self.embed, self.how, self.pool = embed, how, pool
        self.texts: list[str] = []  # distinct, sorted
        self._id: dict[str, int] = {}
        self._of_record = np.zeros(0, dtype=np.int32)  # id of every record's report, for "random"
        self._index: Index | None = None
        self._neighbours = np.zeros((0, 0), dtype=np.int32)  # (N, pool): 46 MB for 180,000 reports

    @property
    def searches(self) -> bool:
        """Whether reports are compared at all, so that they need vectors."""
        return self.how in ("farthest", "nearest")

    def prepare(self, texts: Sequence[str]) -> None:
        """Take in the reports of all records; again with more of them, the corpus grows and is searched anew."""
        known = [self.texts[i] for i in self._of_record]
        if self.how == "none" or set(texts) <= self._id.keys():
            return
        self.texts = sorted(self._id.keys() | set(texts))
        self._id = {text: i for i, text in enumerate(self.texts)}
        self._of_record = np.array([self._id[text] for text in [*known, *texts]], dtype=np.int32)
        if self.searches and len(self.texts) > 1:
            vectors = self.embed(self.texts)
            self._index = Index(vectors)
            self._neighbours = self._search(vectors, own=np.arange(len(self.texts)))

    def _search(self, vectors: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Ids of the ``pool`` neighbours of each vector, without the id of its own: (Q, D) -> (Q, k)."""
        search = self._index.farthest if self.how == "farthest" else self._index.nearest
        if own is None:
            return search(vectors, min(self.pool, len(self._index)))[1].astype(np.int32)
        k = min(self.pool, len(self._index) - 1)
        found = search(vectors, k + 1)[1]
        others = found != own[:, None]
        others[others.all(axis=1), -1] = False  # its own is not among them: the last one is one too many
        return found[others].reshape(len(vectors), k).astype(np.int32)

    def draw(self, texts: Sequence[str]) -> list[str]:
        """One negative for each of B texts, chosen with torch's random state.

        A text that has no other beside it, a corpus of one, is given back as it is, and so is every text with "none".
        """
        if self.how == "none":
            return list(texts)
        if not self.texts and texts:
            return self._among(texts).draw(texts)
        if self.how == "random":
            pools = [self._of_record] * len(texts)
        elif len(self.texts) == 1:
            pools = [np.zeros(1, dtype=np.int32)] * len(texts)
        else:
            unknown = list(dict.fromkeys(text for text in texts if text not in self._id))
            found = dict(zip(unknown, self._search(self.embed(unknown)), strict=True)) if unknown else {}
            pools = [found[text] if text in found else self._neighbours[self._id[text]] for text in texts]
        places = torch.rand(len(texts), dtype=torch.float64).tolist()
        return [self.texts[pool[int(place * len(pool))]] for pool, place in zip(pools, places, strict=True)]

    def replace(self, texts: Sequence[str], part: float) -> tuple[list[str], torch.Tensor]:
        """A random ``part`` of B texts replaced by negatives, and which rows (B,) still are what they were.

        A replaced row counts as one even where a random negative says the same as before. With "none" no row is.
        """
        part = 0.0 if self.how == "none" else part
        replaced, kept = list(texts), torch.ones(len(texts), dtype=torch.bool)
        rows = torch.randperm(len(replaced))[: int(part * len(replaced))].tolist()
        if rows:
            source = self if self.texts else self._among(texts)
            for row, negative in zip(rows, source.draw([replaced[row] for row in rows]), strict=True):
                kept[row] = self.how != "random" and negative == replaced[row]  # alone in its corpus
                replaced[row] = negative
        return replaced, kept

    def _among(self, texts: Sequence[str]) -> "ReportNegatives":
        """The same with the texts of one call as corpus."""
        corpus = ReportNegatives(self.embed, self.how, self.pool)
        corpus.prepare(texts)
        return corpus


def _unit_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    """Rows of length one, contiguous float32: (N, D) -> (N, D)."""
    rows = np.asarray(vectors)
    if rows.ndim != 2 or not len(rows) or not rows.shape[1]:
        raise ValueError(f"{name} must be (rows, width) with at least one row, not of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{name}: row {int(np.argmin(np.isfinite(rows).all(axis=1)))} holds a value that is not finite"
        )
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError(f"{name}: row {int(np.argmin(lengths[:, 0]))} is zero and has no direction")
    return np.ascontiguousarray(rows / lengths, dtype=np.float32)


def _threads() -> int:
    """As many as this process may use: ``OMP_NUM_THREADS`` where it is set, else its share of the cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(wanted), cores) if wanted.isdigit() and int(wanted) else cores
