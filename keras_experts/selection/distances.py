"""Which rows may be nearest to which, told by products of matrices.

Half a squared distance is h_i + h_j - c_i c_j, where c are rows less a point in
their middle and h = |c|² / 2. One float32 product of `[-c, h, 1]` and
`[c, 1, h]` gives it for many pairs, but loses digits where rows lie close
together and far from the middle. So it only bounds distances, and whose bounds
overlap has to be measured by differences.

By how much it is off, as shares of h_i + h_j: let u be half of the last digit,
so that m roundings change a result by γ_m = mu / (1 - mu) or less. Rounding c
changes half a squared distance by u (|c_i| + |c_j|)², which is 4u or less. A
sum of d + 2 products changes by γ of the sum of their sizes, in whatever order
it is added up, which is 2γ or less. h is off by γ_d, and once more by u. All
these together are less than γ of 3 (d + 16), which is taken off h. Then the
product is a lower bound, and twice that above it is an upper one. Where float32
takes something small for 0, it is for less than `TINY` each time.
"""

import numpy as np

from keras_experts.selection.candidates import Candidates

# A tile of the distance matrix at a time, which is never held whole.
TILE_ROWS = 1024
TILE_COLUMNS = 4096
# Rows of a tile that stay in a cache.
BAND_ROWS = 128
# Rows whose mean is the middle, and from which share of the median of `halves`
# on a row does not count. Any middle is right, a near one is better.
MIDDLE_ROWS = 256
FAR = 1e4
# Candidates of a row beyond `k`. Rows with more are given up.
MAX_CANDIDATES = 128
# Float64 values at a time around one row.
BALL_VALUES = 2**22
# Halves of squared lengths that float32 holds with enough room around them.
SMALLEST, LARGEST = 1e-20, 1e36
TINY = 2.0**-120


def centre(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves the middle of all rows to the origin.

    Args:
        features: array of numbers `(n, d)`.

    Returns:
        Float32 array `(n, d + 2)`: the rows, times a power of two where
        float32 could not hold their squares, then a 1 and a free column.
        Float64 array `(n,)`: half the squared length of each, not finite where
        a value is not.
    """
    num_rows, channels = features.shape
    points = np.empty((num_rows, channels + 2), np.float32)
    centred = points[:, :channels]
    points[:, channels] = 1
    step = -(-num_rows // MIDDLE_ROWS)
    with np.errstate(over="ignore", invalid="ignore"):
        halves = _centre_on(features[::step], features, centred)
        near = halves <= FAR * np.median(halves)
        if not near.all() and near.any():
            # A row that is far from all others must not pull the middle.
            sample = features[np.flatnonzero(near)[::step]]
            halves = _centre_on(sample, features, centred)
        if not SMALLEST < halves.max() < LARGEST:
            _centre_scaled(features, centred)
            halves = _halve_squares(centred)
    return points, halves


def _centre_on(sample, features, centred) -> np.ndarray:
    # A middle in float32 is exact, and float32 rows less it are off by u.
    dtype = np.float32 if features.dtype == np.float32 else np.float64
    middle = sample.mean(axis=0, dtype=dtype)
    np.subtract(features, middle, out=centred, casting="same_kind")
    return _halve_squares(centred)


def _halve_squares(centred: np.ndarray) -> np.ndarray:
    return np.vecdot(centred, centred).astype(np.float64) / 2


def _centre_scaled(features: np.ndarray, centred: np.ndarray) -> None:
    """Centres to values of about 1, row by row."""
    middle = features[0].astype(np.float64)
    peak = max(np.abs(row - middle).max(initial=0) for row in features)
    if np.isfinite(peak):
        _, exponent = np.frexp(peak)
        for row, out in zip(features, centred, strict=True):
            out[:] = np.ldexp(row - middle, -exponent)


def _room(halves, channels, unit, tiny) -> np.ndarray:
    """Gives what has to be taken off each of `halves`."""
    roundings = 3 * (channels + 16) * unit
    return halves * roundings / (1 - roundings) + (channels + 2) * tiny


def search(
    points: np.ndarray, halves: np.ndarray, k: int, groups: np.ndarray
) -> Candidates:
    """Returns candidates from tiles of one product, on and above the diagonal.

    Args:
        points: float32 array `(n, d + 2)` of `centre`. Its last column is set.
        halves: float64 array `(n,)` of `centre`.
        k: int. Number of neighbors of each row.
        groups: int array `(n,)`. Rows of one group are no candidates of each
            other; each row is of its own group.
    """
    room = _room(halves, points.shape[1] - 2, 2.0**-24, TINY)
    points[:, -1] = halves - room
    found = Candidates(room, k, np.float32, k + MAX_CANDIDATES)
    for rows, columns, tile in _tiles(points):
        tile[pairs_within_groups(groups[rows], groups[columns])] = np.inf
        found.add(rows, columns, tile)
        if columns[0] != rows[0]:
            found.add(columns, rows, tile.T)
    return found


def _tiles(points):
    """Yields rows, columns, and lower bounds of their distances."""
    num_rows, channels = len(points), points.shape[1] - 2
    height, width = min(TILE_ROWS, num_rows), min(TILE_COLUMNS, num_rows)
    memory = np.empty(height * max(height, width), np.float32)
    indices = np.arange(num_rows)
    for top in range(0, num_rows, height):
        bottom = min(top + height, num_rows)
        rows = indices[top:bottom]
        tile = memory[: len(rows) ** 2].reshape(len(rows), len(rows))
        block = points[top:bottom]
        centred, low = block[:, :channels], block[:, -1]
        # NumPy multiplies an array by its own transpose with half the work.
        np.matmul(centred, centred.T, out=tile)
        for start in range(0, len(rows), BAND_ROWS):
            band = tile[start : start + BAND_ROWS]
            np.subtract(low, band, out=band)
            band += low[start : start + BAND_ROWS, None]
        yield rows, rows, tile
        if bottom < num_rows:
            left = block.copy()
            np.negative(centred, out=left[:, :channels])
            left[:, channels:] = block[:, channels:][:, ::-1]
        for start in range(bottom, num_rows, width):
            columns = indices[start : start + width]
            tile = memory[: len(rows) * len(columns)]
            tile = tile.reshape(len(rows), len(columns))
            np.matmul(left, points[start : start + width].T, out=tile)
            yield rows, columns, tile


def pairs_within_groups(
    left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of all pairs whose groups are equal.

    Args:
        left: int array `(h,)`. Groups of the first rows.
        right: int array `(w,)`. Groups of the second rows.

    Returns:
        Int arrays `(pairs,)`: positions in `left` and in `right`.
    """
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    starts = np.searchsorted(ordered, left, "left")
    counts = np.searchsorted(ordered, left, "right") - starts
    rows = np.repeat(np.arange(len(left)), counts)
    ranks = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    return rows, order[starts[rows] + ranks]


def search_around(
    features: np.ndarray,
    ball: np.ndarray,
    inside: np.ndarray,
    pivot: int,
    halves: np.ndarray,
    k: int,
    groups: np.ndarray,
) -> Candidates:
    """Returns candidates of a few rows, in float64 around one row.

    Args:
        features: array of numbers `(n, d)`.
        ball: int array `(m,)`. Rows that include all candidates.
        inside: int array. Positions in `ball` of those that need candidates.
        pivot: int. The row in the middle.
        halves: float64 array `(m,)`. Half the squared distances to the pivot.
        k: int. Number of neighbors of each row.
        groups: int array `(m,)`. As in `search`.

    Returns:
        Candidates, which are positions in `ball`.
    """
    channels = features.shape[1]
    room = _room(halves, channels, 2.0**-53, np.finfo(np.float64).tiny)
    low = halves - room
    found = Candidates(room, k, np.float64, len(ball))
    middle = features[pivot].astype(np.float64)
    left = features[ball[inside]] - middle
    step = max(1, BALL_VALUES // max(len(inside), channels))
    for start in range(0, len(ball), step):
        columns = np.arange(start, min(start + step, len(ball)))
        lows = left @ (features[ball[columns]] - middle).T
        np.subtract(low[columns], lows, out=lows)
        lows += low[inside][:, None]
        lows[pairs_within_groups(groups[inside], groups[columns])] = np.inf
        found.add(inside, columns, lows)
    return found
