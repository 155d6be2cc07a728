"""Who may ask for what: keys in the artifact store, what a gateway knows of them, and the layer that asks for them.

``scopes`` says which request needs which scope, ``keys`` writes and reads keys, ``keyring`` keeps them in a gateway,
``callers`` judges requests where there are no keys, ``rates`` counts them, and ``guard`` puts all of it before the
application.
"""
