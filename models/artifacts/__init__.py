"""The artifact store and what lies in it: ``store`` (objects by path), ``datasets``, ``versions``. Torch-free."""
