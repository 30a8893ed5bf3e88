"""Training: extract, validate, train, evaluate, register, as one kfp pipeline."""
