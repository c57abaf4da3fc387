"""Publishing: modules, cards, collections."""
