"""What a pool's experts can do together, beside the best single one."""

import numpy as np

from keras_experts.console import say
from keras_experts.saved_models import handles
from keras_experts.selection.combining import combine
from keras_experts.selection.features import FAILURES
from keras_experts.selection.modules import Candidate
from keras_experts.selection.pool_strategies import domain_of
from keras_experts.selection.ranking import Entry
from keras_experts.selection.routing import route
from keras_experts.selection.strategies import Evidence

# Two different ones in each half; and four square matrices of so many take
# 3.2 GB.
MIN_COMBINED, MAX_COMBINED = 4, 10_000


def try_together(evidence: Evidence, ranking: list[Entry]) -> dict | None:
    """Combines and routes experts; all accuracies are leave-one-out 1-NN.

    Args:
        evidence: Evidence.
        ranking: list of Entry. Those scored on all examples take part.

    Returns:
        dict of `experts` and `modules`, chosen greedily; `accuracy` of their
        concatenated features; `honest_accuracy` and `single_honest_accuracy`,
        where one half of the examples chooses for the other; and
        `routed_accuracy`, where the expert prediction network picks an
        adapter for each image, or None where the pool has none. None for
        fewer or more examples than can be combined.

    References:
        Section 7 of the paper, which leaves both to future work.
    """
    complete = len(evidence.indices)
    different = len(np.unique(evidence.groups))
    if different < MIN_COMBINED or complete > MAX_COMBINED:
        say(
            f"Experts are combined for {MIN_COMBINED} to {MAX_COMBINED:,} "
            f"different examples. Received: {complete:,}, {different:,} of "
            "them different."
        )
        return None
    by_handle = {c.handle: c for c in evidence.candidates}
    names = [e.module for e in ranking if e.examples == complete]
    found = combine(
        lambda name: evidence.features.get(by_handle[name], evidence.indices),
        evidence.labels,
        names,
        groups=evidence.groups,
    )
    return {
        "experts": [by_handle[name].name for name in found.names],
        "modules": list(found.names),
        "accuracy": found.accuracy,
        "honest_accuracy": found.honest_accuracy,
        "single_honest_accuracy": found.single_honest_accuracy,
        "routed_accuracy": _routed(evidence, [by_handle[n] for n in names]),
    }


def _routed(evidence: Evidence, candidates: list[Candidate]) -> float | None:
    """Scores features that come from each image's most probable adapter."""
    baselines = [c for c in candidates if c.is_baseline and c.head]
    if not evidence.networks or not baselines:
        return None
    network, baseline = evidence.networks[0], baselines[0]
    known = handles.read_metadata(network.handle)["experts"]
    columns = {row["name"]: place for place, row in enumerate(known)}
    # Features of adapters on one baseline share a space.
    adapters = [
        c
        for c in candidates
        if c.kind == handles.ADAPTER
        and c.head == baseline.head
        and domain_of(c) in columns
    ]
    if not adapters:
        return None

    def features(expert: int, rows: np.ndarray) -> np.ndarray:
        candidate = baseline if expert < 0 else adapters[expert]
        return evidence.features.get(candidate, evidence.indices)[rows]

    try:
        weights = evidence.features.get(network, evidence.indices)
        weights = weights[:, [columns[domain_of(c)] for c in adapters]]
        correct = route(
            features, weights, evidence.labels, groups=evidence.groups
        )
    except (*FAILURES, IndexError) as error:
        say(f"Images are not routed: {error}")
        return None
    return float(correct.mean())
