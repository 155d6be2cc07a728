# What scores, tests and benchmarks use of scikit-learn, which comes without types.
