"""What gateway, workers and families agree on. Imports no torch, no web and no queue library.

``errors`` the exception tree · ``config`` the base of every options model · ``training`` options of
gradient families · ``tensors`` signatures of exported parts · ``spec`` a family's description ·
``task`` requests, answers and the codec generator · ``datasets``, ``jobs``, ``manifest`` the records.
"""
