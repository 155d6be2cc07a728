"""One training on several devices or in another precision: processes that take every step together.

``meeting`` where they find one another · ``replicas`` starts and watches the others · ``replica`` is one of them ·
``together`` the orders that all obey · ``gradients`` losses and steps by lightning-fabric. The loop knows none of it.
"""
