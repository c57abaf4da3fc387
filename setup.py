"""Packaging of keras_experts.

`gin/` and the folders of `export/` stand at the top of a checkout, where
people look for them, and are packed into the wheel as packages of data.
"""

from setuptools import find_packages
from setuptools import setup

# tensorflow-text 2.21.0 does not import (an undefined ICU symbol).
TEXT = ["tensorflow-text>=2.20,!=2.21.0,<2.22"]
BEAM = ["apache-beam>=2.77,<3"]
PLOT = ["matplotlib>=3.9"]
SERVE = ["starlette>=0.46", "uvicorn>=0.34"]
# The newest tensorflow-tpu; tensorflow must be of the same release.
TPU = ["tensorflow-tpu>=2.20,<2.21", "tensorflow>=2.20,<2.21"]
TEST = ["build>=1.2", "jax>=0.7", "pytest>=8", "pytest-timeout>=2.3"]
TEST += ["pytest-xdist>=3.6", "ruff>=0.17,<0.18", "playwright>=1.50"]
TEST += ["ipykernel>=6", "nbclient>=0.10", *SERVE, *TEXT, *BEAM]
# What `make docs` builds the site of docs/ with; it reads the source alone.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.7,<10"]
# Signatures are formatted with ruff.
DOCS += ["mkdocstrings-python>=2,<3", "ruff>=0.17,<0.18"]
BENCH = ["faiss-cpu>=1.10", *PLOT]
PARITY = ["torch==2.13.0", "transformers>=4.50,<6"]

setup(
    name="keras_experts",
    version="0.1.0",
    description="Scalable transfer learning with expert models, in Keras.",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[
        *find_packages(include=["keras_experts", "keras_experts.*"]),
        "keras_experts.gin_configs",
        "keras_experts.export_templates",
        "keras_experts.export_pools",
        "keras_experts.export_builtin",
    ],
    package_dir={
        "keras_experts.gin_configs": "gin",
        "keras_experts.export_templates": "export/templates",
        "keras_experts.export_pools": "export/pools",
        "keras_experts.export_builtin": "export/builtin",
    },
    package_data={
        "keras_experts.gin_configs": ["**/*.gin"],
        "keras_experts.export_templates": ["*.j2"],
        "keras_experts.export_pools": ["*.txt"],
        "keras_experts.export_builtin": ["**/*"],
    },
    install_requires=[
        "gin-config>=0.5,<0.6",
        # tensorflow-datasets imports it on Python 3.11 without requiring it.
        "importlib_resources>=6",
        "jinja2>=3.1",
        "keras>=3.15,<4",
        "markdown-it-py>=3",
        "numpy>=2",
        "pillow>=10",
        "rich>=14.1",  # bars within bars
        "scikit-learn>=1.5",
        "scipy>=1.13",
        # tensorflow-hub 0.16.1 imports pkg_resources, which 82 removed.
        "setuptools<82",
        "tensorflow>=2.20,<2.22",
        "tensorflow-datasets>=4.9.10,<5",
        "tensorflow-hub>=0.16.1,<0.18",
        # hub.KerasLayer is a layer of tf_keras wherever tf.keras is Keras 3.
        "tf-keras>=2.20,<2.22",
    ],
    extras_require={
        "text": TEXT,
        "beam": BEAM,
        "plot": PLOT,
        "serve": SERVE,
        "tpu": TPU,
        "test": TEST,
        "bench": BENCH,
        "docs": DOCS,
        "parity": PARITY,
        "all": TEXT + BEAM + PLOT + SERVE,
    },
    entry_points={
        "console_scripts": ["keras-experts = keras_experts.cli:main"]
    },
)
