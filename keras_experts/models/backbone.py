"""The backbone: ResNet-v2 with group norm and weight standardisation."""

import keras
from keras import layers

from keras_experts import config
from keras_experts.layers.adapter_bank import AdapterBank
from keras_experts.layers.adapter_groups import AdapterGroups
from keras_experts.layers.expert_index import as_int32
from keras_experts.layers.group_norm import group_norm
from keras_experts.layers.group_norm import num_groups
from keras_experts.layers.residual_adapter import ResidualAdapter
from keras_experts.layers.standardized_conv import StandardizedConv2D
from keras_experts.models.presets import BLOCK_UNITS
from keras_experts.models.presets import PRESETS

ADAPTERS = (None, "single", "bank", "groups")
ROOTS = ("imagenet", "small")


@keras.saving.register_keras_serializable(package="keras_experts")
class BitResNet(keras.Model):
    """Maps images to a dict of named activations, with no head.

    The activations are `root`, `block1` to `block4` (maps) and `pre_logits`
    (features). With adapters, one layer `adapterI` stands before each block
    I: `x_i = F_i(x_{i-1} + a_e(x_{i-1}))`.

    Args:
        depth: int. One of 14, 26, 50, 101, 152.
        width: float. Factor on all channels; the first block's base of 64
            channels is rounded to one that the group norms divide.
        root: str. "imagenet" is the paper's 7x7 convolution and 3x3 pooling,
            each of stride 2; "small" a 3x3 convolution of stride 1.
        adapters: None, "single" (one expert), "bank" (`num_experts`, chosen
            image by image) or "groups" (the same, each on its own equal part
            of the batch).
        num_experts: int. Experts of the bank or of the groups.
        bottleneck_ratio: float. As in `ResidualAdapter`.

    Call arguments:
        inputs: float tensor `(batch, height, width, 3)`, values in [-1, 1].
            With a bank, a dict of `images` (that tensor) and `expert_index`,
            int tensor `(batch,)`, values in `[-1, num_experts)`, checked as
            by `AdapterBank`.

    Returns:
        Dict of float tensors; `pre_logits` is `(batch, 2048 * width)`.

    References:
        Big Transfer (Kolesnikov et al., 2020); section 4.1 of the paper.
    """

    def __init__(
        self,
        depth: int = 50,
        width: float = 1.0,
        root: str = "imagenet",
        adapters: str | None = None,
        num_experts: int | None = None,
        bottleneck_ratio: float = 0.5,
        name: str = "resnet",
        **kwargs,
    ):
        _check_choice("depth", depth, tuple(BLOCK_UNITS))
        _check_choice("root", root, ROOTS)
        _check_choice("adapters", adapters, ADAPTERS)
        if (adapters in ("bank", "groups")) != (num_experts is not None):
            raise ValueError(
                "`num_experts` goes with `adapters='bank'` or 'groups'. "
                f"Received: num_experts={num_experts}, adapters={adapters!r}."
            )
        images = keras.Input((None, None, 3), name="images")
        inputs = images
        index = None
        if adapters == "bank":
            index = keras.Input((), dtype="int32", name="expert_index")
            inputs = {"images": images, "expert_index": index}
        base = base_channels(width)
        outputs = {"root": _apply_root(images, base, root)}
        x = outputs["root"]
        for block, num_units in enumerate(BLOCK_UNITS[depth], start=1):
            name_adapter = f"adapter{block}"
            if adapters == "single":
                x = ResidualAdapter(bottleneck_ratio, name=name_adapter)(x)
            elif adapters == "bank":
                bank = AdapterBank(
                    num_experts, bottleneck_ratio, name=name_adapter
                )
                x = bank(x, expert_index=index)
            elif adapters == "groups":
                groups = AdapterGroups(
                    num_experts, bottleneck_ratio, name=name_adapter
                )
                x = groups(x)
            bottleneck = base * 2 ** (block - 1)
            for unit in range(1, num_units + 1):
                strides = 2 if unit == 1 and block > 1 else 1
                prefix = f"block{block}_unit{unit:02d}"
                x = _apply_unit(x, bottleneck, strides, prefix)
            outputs[f"block{block}"] = x
        x = group_norm(x.shape[-1], "group_norm")(x)
        x = layers.ReLU(name="relu")(x)
        pool = layers.GlobalAveragePooling2D(name="pre_logits")
        outputs["pre_logits"] = pool(x)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self.depth = depth
        self.width = width
        self.root = root
        self.adapters = adapters
        self.num_experts = num_experts
        self.bottleneck_ratio = bottleneck_ratio

    def call(self, inputs, training=None, mask=None):
        # Keras casts inputs to int32 without looking at their values.
        if self.adapters == "bank" and isinstance(inputs, dict):
            index = as_int32(inputs["expert_index"], self.num_experts)
            inputs = {**inputs, "expert_index": index}
        return super().call(inputs, training=training, mask=mask)

    def get_config(self):
        return {
            "name": self.name,
            "depth": self.depth,
            "width": self.width,
            "root": self.root,
            "adapters": self.adapters,
            "num_experts": self.num_experts,
            "bottleneck_ratio": self.bottleneck_ratio,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@config.register
def bit_resnet(preset: str = "r50x1", **overrides) -> BitResNet:
    """Builds a network by name.

    Args:
        preset: str. A key of `models.presets.PRESETS`, such as "r50x1".
        **overrides: arguments of `BitResNet` that differ from the preset's.

    Raises:
        ValueError: if there is no such preset.
    """
    _check_choice("preset", preset, tuple(PRESETS))
    return BitResNet(**{**PRESETS[preset], **overrides})


def base_channels(width: float) -> int:
    """Rounds `64 * width` to the nearest number the group norms divide.

    Raises:
        ValueError: if `width` is not above 0.
    """
    if not width > 0:
        raise ValueError(f"`width` must be above 0. Received: {width}.")
    target = 64 * width
    limit = int(2 * target) + 4
    valid = [base for base in range(2, limit) if _divides_all(base)]
    return min(valid, key=lambda base: abs(base - target))


def _divides_all(base: int) -> bool:
    try:
        for doublings in range(6):  # base to 32 x base, all that occur
            num_groups(base * 2**doublings)
    except ValueError:
        return False
    return True


def _apply_root(images, channels, root):
    if root == "small":
        conv = StandardizedConv2D(channels, 3, name="root_standardized_conv2d")
        return conv(images)
    conv = StandardizedConv2D(channels, 7, 2, name="root_standardized_conv2d")
    x = conv(images)
    # Padded with zeros, not with -inf as Keras' "same" pooling.
    x = layers.ZeroPadding2D(1, name="root_pad")(x)
    return layers.MaxPooling2D(3, 2, name="root_pool")(x)


def _apply_unit(x, bottleneck, strides, prefix):
    """Adds a pre-activation bottleneck unit (BottleneckV2Unit of BiT)."""
    channels = 4 * bottleneck

    def normalize(x, branch):
        norm = group_norm(x.shape[-1], f"{prefix}_{branch}_group_norm")
        x = norm(x)
        return layers.ReLU(name=f"{prefix}_{branch}_relu")(x)

    def convolve(x, branch, filters, kernel_size, strides=1):
        name = f"{prefix}_{branch}_standardized_conv2d"
        return StandardizedConv2D(filters, kernel_size, strides, name=name)(x)

    residual = x
    x = normalize(x, "a")
    if strides > 1 or residual.shape[-1] != channels:
        residual = convolve(x, "a_proj", channels, 1, strides)
    x = convolve(x, "a", bottleneck, 1)
    x = convolve(normalize(x, "b"), "b", bottleneck, 3, strides)
    x = convolve(normalize(x, "c"), "c", channels, 1)
    return layers.Add(name=f"{prefix}_add")([x, residual])


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {value!r}."
        )
