# What the benchmarks use of threadpoolctl, which scikit-learn brings and which comes without types.

from contextlib import AbstractContextManager

def threadpool_limits(limits: int) -> AbstractContextManager[None]: ...
