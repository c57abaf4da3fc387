"""Pairs of rows that may be nearest to each other."""

import numpy as np


class Candidates:
    """Pairs of rows that may be nearest, gathered tile by tile.

    Args:
        room: float array `(n,)`. The lower bound of a distance is below it by
            at most twice the room of its two rows.
        k: int. Neighbours of each row.
        dtype: of the lower bounds.
        most: int. Candidates of a row; one with more is given up as crowded.
    """

    def __init__(self, room: np.ndarray, k: int, dtype: type, most: int):
        self.room = room
        self.k = k
        self.most = most
        # Infinity stands for pairs that do not count, so no limit is that.
        self.highest = np.finfo(dtype).max
        # What the lower bound of a candidate does not exceed.
        self.limits = np.full(len(room), self.highest, dtype)  # (n,)
        # The k smallest upper bounds of distances so far.
        self.uppers = np.full((len(room), k), np.inf)  # (n, k)
        self.counts = np.zeros(len(room), np.int64)
        self.crowded = np.zeros(len(room), bool)
        self._found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self, rows: np.ndarray, columns: np.ndarray, lows: np.ndarray
    ) -> None:
        """Looks through lower bounds.

        Args:
            rows: int array `(h,)`.
            columns: int array `(w,)` or `(h, w)`, no pair twice.
            lows: float array `(h, w)`, or the transpose of one in memory,
                infinite for pairs that do not count.
        """
        if not lows.size:
            return
        smallest = self._limit_by_minima(rows, columns, lows)
        hits = np.flatnonzero(smallest <= self.limits[rows])
        if not len(hits):
            return
        columns = np.broadcast_to(columns, lows.shape)
        if lows.strides[0] >= lows.strides[1]:
            if len(hits) < len(rows) / 2:
                rows, columns, lows = rows[hits], columns[hits], lows[hits]
        elif len(hits) < len(rows) / 16:
            rows, columns = rows[hits], columns[hits]
            lows = lows.T.take(hits, axis=1).T
        near = lows <= self.limits[rows][:, None]
        if np.count_nonzero(near) > 8 * len(rows):
            self._thin_out(rows, columns, lows, near)
        flat = np.flatnonzero(near.ravel("K"))
        if near.flags.c_contiguous:
            left, right = np.divmod(flat, near.shape[1])
        else:
            right, left = np.divmod(flat, near.shape[0])
        self._keep(rows[left], columns[left, right], lows[left, right])

    def give_up(self, rows: np.ndarray) -> None:
        """Takes no more candidates of rows."""
        self.crowded[rows] = True
        self.limits[rows] = -np.inf

    def _limit_by_minima(self, rows, columns, lows) -> np.ndarray:
        """Lowers limits by the k-th of some minima; gives the minima of all."""
        parts = min(2 * self.k, lows.shape[1]) if self.k > 1 else 1
        minima = [
            part.min(axis=1) for part in np.array_split(lows, parts, axis=1)
        ]
        minima = np.stack(minima, axis=1)  # (h, parts)
        minima.partition(min(self.k, parts) - 1, axis=1)
        if parts >= self.k:
            room = self.room[rows] + self.room[columns].max()
            self._lower_limits(rows, minima[:, self.k - 1] + 2 * room)
        return minima.min(axis=1)

    def _thin_out(self, rows, columns, lows, near) -> None:
        """Takes a better limit where many are near, or gives a row up."""
        counts = self.counts[rows] + np.count_nonzero(near, axis=1)
        many = np.flatnonzero(counts > self.most)
        rows, columns, lows = rows[many], columns[many], lows[many]
        k = min(self.k, lows.shape[1])
        if k == 1:
            nearest = lows.argmin(axis=1)[:, None]
        else:
            nearest = np.argpartition(lows, k - 1, axis=1)[:, :k]
        room = self.room[np.take_along_axis(columns, nearest, axis=1)]
        room += self.room[rows][:, None]
        uppers = np.take_along_axis(lows, nearest, axis=1) + 2 * room
        if k == self.k:
            self._lower_limits(rows, uppers.max(axis=1))
        still = lows <= self.limits[rows][:, None]
        counts = self.counts[rows] + np.count_nonzero(still, axis=1)
        self.give_up(rows[counts > self.most])
        near[many] = still & (counts <= self.most)[:, None]

    def _lower_limits(self, rows: np.ndarray, limits: np.ndarray) -> None:
        limits = np.minimum(limits, self.highest)
        limits = np.nextafter(limits.astype(self.limits.dtype), self.highest)
        self.limits[rows] = np.minimum(self.limits[rows], limits)

    def _keep(self, rows, columns, lows) -> None:
        self._found.append((rows, columns, lows))
        uppers = lows + 2 * (self.room[rows] + self.room[columns])
        order = np.lexsort((uppers, rows))
        rows, uppers = rows[order], uppers[order]
        changed, first, counts = np.unique(
            rows, return_index=True, return_counts=True
        )
        self.counts[changed] += counts
        self.give_up(changed[self.counts[changed] > self.most])
        ranks = np.arange(len(rows)) - np.repeat(first, counts)
        best = np.full((len(changed), self.k), np.inf)
        few = ranks < self.k
        position = np.repeat(np.arange(len(changed)), counts)
        best[position[few], ranks[few]] = uppers[few]
        best = np.concatenate([self.uppers[changed], best], axis=1)
        best.partition(self.k - 1, axis=1)
        self.uppers[changed] = best[:, : self.k]
        self._lower_limits(changed, best[:, : self.k].max(axis=1))

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Gives the rows and the candidates of all that are not crowded."""
        if not self._found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows, columns, lows = map(
            np.concatenate, zip(*self._found, strict=True)
        )
        # Limits have come down since, to minus infinity where crowded.
        near = lows <= self.limits[rows]
        return rows[near], columns[near]
