"""keras_experts."""
__version__ = "0.1.0"
