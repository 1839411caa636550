"""Who a request runs as: assignment, ranges, becoming it, and the kernel's fences around it."""
