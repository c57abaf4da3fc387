"""Features of transformers' BitModel, for the parity tests.

    python tests/models/bit_reference.py

writes `bit_reference.npz` beside it: the 2048 features of R50x1 for one image
of each size, with weights and images that follow from a seed. It needs torch
and transformers (`make test-all` installs them). The weights are the same
in both networks, and of the published names and shapes.
"""

from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).with_suffix(".npz")
SIZES = (224, 225, 97)
UNITS = (3, 4, 6, 3)
SEED = 0


def make_weights() -> dict[str, np.ndarray]:
    """Draws weights of R50x1 under the names of the published files (HWIO)."""
    rng = np.random.default_rng(SEED)
    weights = {}

    def conv(name, size, channels, filters):
        shape = (size, size, channels, filters)
        kernel = rng.normal(0, 0.05, shape).astype(np.float32)
        weights[f"resnet/{name}/standardized_conv2d/kernel"] = kernel

    def norm(name, channels):
        gamma = rng.normal(0.5, 0.1, channels).astype(np.float32)
        beta = rng.normal(0, 0.1, channels).astype(np.float32)
        weights[f"resnet/{name}group_norm/gamma"] = gamma
        weights[f"resnet/{name}group_norm/beta"] = beta

    conv("root_block", 7, 3, 64)
    channels = 64
    for block, units in enumerate(UNITS, start=1):
        inner = 64 * 2 ** (block - 1)
        for unit in range(1, units + 1):
            prefix = f"block{block}/unit{unit:02d}"
            norm(f"{prefix}/a/", channels)
            conv(f"{prefix}/a", 1, channels, inner)
            norm(f"{prefix}/b/", inner)
            conv(f"{prefix}/b", 3, inner, inner)
            norm(f"{prefix}/c/", inner)
            conv(f"{prefix}/c", 1, inner, 4 * inner)
            if unit == 1:
                conv(f"{prefix}/a/proj", 1, channels, 4 * inner)
            channels = 4 * inner
    norm("", channels)
    weights["resnet/head/conv2d/kernel"] = np.zeros((1, 1, channels, 7))
    weights["resnet/head/conv2d/bias"] = np.zeros(7)
    return weights


def make_image(size: int) -> np.ndarray:
    """Draws an image `(1, size, size, 3)`, values in [-1, 1]."""
    rng = np.random.default_rng((SEED, size))
    return rng.uniform(-1, 1, (1, size, size, 3)).astype(np.float32)


def torch_name(name: str) -> str:
    """Gives transformers' name of a published weight."""
    name = name.removeprefix("resnet/").replace("standardized_conv2d/", "")
    if name == "root_block/kernel":
        return "embedder.convolution.weight"
    if name.startswith("group_norm/"):
        kind = {"gamma": "weight", "beta": "bias"}[name.split("/")[1]]
        return f"norm.{kind}"
    block, unit, rest = name.split("/", 2)
    layer = f"encoder.stages.{int(block[-1]) - 1}.layers.{int(unit[-2:]) - 1}"
    branch = "abc".index(rest[0]) + 1
    if "proj" in rest:
        return f"{layer}.downsample.conv.weight"
    if "group_norm" in rest:
        kind = "weight" if rest.endswith("gamma") else "bias"
        return f"{layer}.norm{branch}.{kind}"
    return f"{layer}.conv{branch}.weight"


def torch_features() -> dict[str, np.ndarray]:
    """Runs transformers' BitModel on the images."""
    import torch
    from transformers import BitConfig
    from transformers import BitModel

    model = BitModel(BitConfig(depths=list(UNITS))).eval()
    state = {}
    for name, value in make_weights().items():
        if "/head/" in name:
            continue
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        state[torch_name(name)] = torch.tensor(value)
    model.load_state_dict(state)  # strict: every name must fit
    features = {}
    for size in SIZES:
        image = torch.tensor(make_image(size).transpose(0, 3, 1, 2))
        with torch.no_grad():
            pooled = model(image).pooler_output
        features[str(size)] = pooled[:, :, 0, 0].numpy()
    return features


if __name__ == "__main__":
    np.savez_compressed(REFERENCE, **torch_features())
