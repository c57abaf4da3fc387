"""The names of the strategies; each is imported when it is asked for."""

import importlib

# Of each strategy the module and the class, which gin knows by its name.
STRATEGIES = {
    "knn": ("strategies", "Knn"),
    "logistic": ("strategies", "Logistic"),
    "svm": ("strategies", "Svm"),
    "tree": ("strategies", "Tree"),
    "logme": ("strategies", "LogMe"),
    "h_score": ("strategies", "HScore"),
    "leep": ("strategies", "Leep"),
    "domain_prediction": ("pool_strategies", "DomainPrediction"),
    "label_matching": ("pool_strategies", "LabelMatching"),
    "name_matching": ("pool_strategies", "NameMatching"),
    "dat": ("pool_strategies", "DomainAdaptive"),
    "random": ("pool_strategies", "Random"),
    "baseline": ("pool_strategies", "Baseline"),
}
# How candidates may be eliminated early.
RACING = ("auto", "off", "error", "budget")


def import_strategies() -> None:
    """Makes all strategies known to gin."""
    for module, _ in STRATEGIES.values():
        importlib.import_module(f"keras_experts.selection.{module}")


def make_strategy(strategy):
    """Makes a strategy of its name, with what gin binds; gives others as is.

    Raises:
        ValueError: if there is none of that name.
    """
    if not isinstance(strategy, str):
        return strategy
    if strategy not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. "
            f"Received: {strategy!r}."
        )
    import gin

    module, name = STRATEGIES[strategy]
    importlib.import_module(f"keras_experts.selection.{module}")
    return gin.get_configurable(name)()
