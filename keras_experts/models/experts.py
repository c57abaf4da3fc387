"""Experts in and out of models: adding, cutting out, putting in."""

import keras
import numpy as np
from keras import ops

from keras_experts.layers.adapter_bank import ADAPTER_VARIABLES
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import named_variables

ADAPTER_PREFIX = "adapter"


def add_adapters(
    backbone: BitResNet,
    adapters: str | None = "single",
    num_experts: int | None = None,
    bottleneck_ratio: float = 0.5,
) -> BitResNet:
    """Copies a backbone into a model that has new adapters.

    Args:
        backbone: `BitResNet`; adapters it has are left behind.
        adapters: None, "single" or "bank", as in `BitResNet`.
        num_experts: int. Experts of a bank.
        bottleneck_ratio: float. As in `ResidualAdapter`.

    Returns:
        A new `BitResNet`, which gives the backbone's outputs until its
        adapters are trained.
    """
    config = {
        **backbone.get_config(),
        "adapters": adapters,
        "num_experts": num_experts,
        "bottleneck_ratio": bottleneck_ratio,
    }
    model = BitResNet(**config)
    _copy_backbone(backbone, model)
    return model


def extract_expert(bank: BitResNet, index: int) -> BitResNet:
    """Cuts one expert out of a bank, as a plain model on images.

    Args:
        bank: `BitResNet` with `adapters="bank"`.
        index: int. In `[-1, num_experts)`; -1 gives the baseline.

    Raises:
        ValueError: if the model is no bank, or the index is out of range.
    """
    _check_adapters("bank", bank, "bank")
    if index == -1:
        return add_adapters(bank, adapters=None)
    model = add_adapters(bank, "single", None, bank.bottleneck_ratio)
    values = {}
    for layer in adapter_layers(bank):
        for path, value in layer.get_expert(index).items():
            values[f"{layer.name}/{path}"] = value
    assign(adapter_variables(model), values, "the bank's expert")
    return model


def insert_expert(bank: BitResNet, index: int, expert: BitResNet) -> None:
    """Puts a plain expert into a bank; its other experts do not change.

    Args:
        bank: `BitResNet` with `adapters="bank"`.
        index: int. The place to overwrite, in `[0, num_experts)`.
        expert: `BitResNet` with `adapters="single"` on the same backbone.

    Raises:
        ValueError: if the backbones differ, or the index is out of range.
    """
    _check_adapters("bank", bank, "bank")
    _check_adapters("expert", expert, "single")
    if expert.bottleneck_ratio != bank.bottleneck_ratio:
        raise ValueError(
            "An expert must have the bank's bottleneck ratio, "
            f"{bank.bottleneck_ratio}. Received: {expert.bottleneck_ratio}."
        )
    theirs = _backbone_variables(expert)
    for name, variable in _backbone_variables(bank).items():
        ours = ops.convert_to_numpy(variable)
        if name not in theirs or not np.array_equal(
            ours, ops.convert_to_numpy(theirs[name])
        ):
            raise ValueError(
                "An expert must stand on the bank's own backbone. "
                f"Received: a backbone that differs in {name}."
            )
    for layer, single in zip(
        adapter_layers(bank), adapter_layers(expert), strict=True
    ):
        values = {
            path.removeprefix(f"{single.name}/"): ops.convert_to_numpy(value)
            for path, value in adapter_variables(expert).items()
            if path.startswith(f"{single.name}/")
        }
        layer.set_expert(index, values)


def adapter_layers(model: BitResNet) -> list[keras.layers.Layer]:
    """Lists a model's adapter layers, from the first block to the last."""
    names = [
        layer.name
        for layer in model.layers
        if layer.name.startswith(ADAPTER_PREFIX)
    ]
    return [model.get_layer(name) for name in sorted(names)]


def adapter_variables(model: BitResNet) -> dict[str, keras.Variable]:
    """Gives the variables of a model's adapters by "adapterI/..."."""
    return {
        name: variable
        for name, variable in named_variables(model).items()
        if name.startswith(ADAPTER_PREFIX)
    }


def stacked_variables(model: BitResNet) -> dict[str, keras.Variable]:
    """Gives a bank's variables, all experts' in each, as `adapter_variables`.

    Args:
        model: `BitResNet` with `adapters` "bank" or "groups".
    """
    return {
        f"{layer.name}/{path}": getattr(layer, name)
        for layer in adapter_layers(model)
        for path, name in ADAPTER_VARIABLES.items()
    }


def freeze_backbone(model: BitResNet) -> None:
    """Leaves only the adapters trainable, as in upstream training."""
    for layer in model.layers:
        layer.trainable = layer.name.startswith(ADAPTER_PREFIX)


def _backbone_variables(model: BitResNet) -> dict[str, keras.Variable]:
    return {
        name: variable
        for name, variable in named_variables(model).items()
        if not name.startswith(ADAPTER_PREFIX)
    }


def _copy_backbone(source: BitResNet, target: BitResNet) -> None:
    values = {
        name: ops.convert_to_numpy(variable)
        for name, variable in _backbone_variables(source).items()
    }
    assign(_backbone_variables(target), values, "the backbone")


def _check_adapters(argument: str, model: BitResNet, adapters: str) -> None:
    if getattr(model, "adapters", None) != adapters:
        raise ValueError(
            f"`{argument}` must be a BitResNet with adapters={adapters!r}. "
            f"Received: {type(model).__name__} with "
            f"adapters={getattr(model, 'adapters', None)!r}."
        )
