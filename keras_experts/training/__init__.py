"""Training: upstream stages and transfer, over tf.distribute."""
