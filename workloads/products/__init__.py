"""The ML products, one folder each. `workloads.product.load` finds them by name."""
