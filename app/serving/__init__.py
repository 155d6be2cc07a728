"""Published versions in memory, and how a request becomes predictions. No HTTP here.

``registry`` which version is meant, and which are loaded · ``sessions`` one loaded version, checked before
it answers · ``runtimes`` what runs its parts, by format · ``tensors`` arrays against signatures · ``inference``
drives a codec · ``archive`` a version as tar.
"""
