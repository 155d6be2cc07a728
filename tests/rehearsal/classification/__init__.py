"""More families of the task ``models.classification``, which is not repeated here."""
