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
# What an accelerator keeps of a row beyond `k`, and its distances at a time.
KEPT_CANDIDATES = 32
STRIP_VALUES = 2**25
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


def search(points: np.ndarray, halves: np.ndarray, k: int) -> Candidates:
    """Finds candidates with tiles of one product, on and above the diagonal.

    Args:
        points: float32 array `(n, d + 2)` of `centre`. Its last column is set.
        halves: float64 array `(n,)` of `centre`.
        k: int. Neighbours of each row.
    """
    room = _room(halves, points.shape[1] - 2, 2.0**-24, TINY)
    points[:, -1] = halves - room
    found = Candidates(room, k, np.float32, k + MAX_CANDIDATES)
    for rows, columns, tile in _tiles(points):
        found.add(rows, columns, tile)
        if columns[0] != rows[0]:
            found.add(columns, rows, tile.T)
    return found


def _tiles(points):
    """Gives rows, columns, and lower bounds of their distances."""
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
        np.fill_diagonal(tile, np.inf)  # no example is its own neighbour
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


def search_around(
    features: np.ndarray,
    ball: np.ndarray,
    inside: np.ndarray,
    pivot: int,
    halves: np.ndarray,
    k: int,
) -> Candidates:
    """Finds candidates of a few rows in float64, with one row as the middle.

    Args:
        features: array of numbers `(n, d)`.
        ball: int array `(m,)`. Rows among which all candidates are.
        inside: int array. Places in `ball` of those that need candidates.
        pivot: int. The row in the middle.
        halves: float64 array `(m,)`. Half the squared distances from there.
        k: int. Neighbours of each row.

    Returns:
        Candidates, which are places in `ball`.
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
        # No example is its own neighbour.
        lows[inside[:, None] == columns] = np.inf
        found.add(inside, columns, lows)
    return found


def search_on_accelerator(
    points: np.ndarray, halves: np.ndarray, k: int
) -> Candidates:
    """Finds candidates with Keras' backend, wherever that computes.

    Accelerators keep as little as 8 binary digits of a factor. So each value
    is a sum of two that have no more, which leaves out 2**-14 of it and 2**-12
    of a distance, and sums are taken to lose two digits more than float32.

    Args:
        points: float32 array `(n, d + 2)` of `centre`.
        halves: float64 array `(n,)` of `centre`.
        k: int. Neighbours of each row.
    """
    from keras import ops

    num_rows, channels = len(points), points.shape[1] - 2
    room = _room(halves, 2 * channels, 2.0**-22, TINY) + halves * 2.0**-12
    found = Candidates(room, k, np.float32, k + MAX_CANDIDATES)
    high = _first_digits(points[:, :channels])
    rest = _first_digits(points[:, :channels] - high)
    low = ops.convert_to_tensor((halves - room).astype(np.float32))
    left = ops.convert_to_tensor(np.concatenate([high, high, rest], axis=1))
    right = ops.convert_to_tensor(np.concatenate([high, rest, high], axis=1))
    num_kept = min(k + KEPT_CANDIDATES, num_rows)
    height = max(1, STRIP_VALUES // num_rows)
    for top in range(0, num_rows, height):
        rows = np.arange(top, min(top + height, num_rows))
        lows, columns = nearest_in_strip(
            left[top : top + height],
            right,
            low[top : top + height],
            low,
            top,
            num_kept,
        )
        lows = ops.convert_to_numpy(lows)
        found.add(rows, ops.convert_to_numpy(columns), lows)
        if num_kept < num_rows:
            # Those not kept may be candidates too.
            found.give_up(rows[lows[:, -1] <= found.limits[rows]])
    return found


def nearest_in_strip(left, right, left_low, right_low, top: int, num_kept: int):
    """Gives the least lower bounds of each row, and their columns.

    Args:
        left: float tensor `(h, m)`, the rows from `top` on.
        right: float tensor `(n, m)`.
        left_low: float tensor `(h,)`. Half the squared lengths, bounded.
        right_low: float tensor `(n,)`.
        top: int. The first row.
        num_kept: int. How many of each row are given, in [1, n].

    Returns:
        Float tensor and int tensor `(h, num_kept)`, the least first.
    """
    from keras import ops

    product = ops.matmul(left, ops.transpose(right))  # (h, n)
    lows = left_low[:, None] + right_low - product  # (h, n)
    rows = top + ops.arange(left.shape[0])
    itself = rows[:, None] == ops.arange(right.shape[0])
    # No example is its own neighbour.
    lows = ops.where(itself, np.inf, lows)
    lows, columns = ops.top_k(-lows, num_kept)
    return -lows, columns


def _first_digits(values: np.ndarray) -> np.ndarray:
    """Cuts float32 values down to the 8 digits of a bfloat16."""
    bits = np.ascontiguousarray(values).view(np.uint32) & 0xFFFF0000
    return bits.view(np.float32)
