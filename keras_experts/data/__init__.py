"""Images and labels: upstream sets, downstream tasks, preprocessing."""
