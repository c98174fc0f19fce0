"""What nodes, wallets and members say to each other: message shapes, limits and signed requests.

``wallet`` and ``node`` never import each other; everything that both must understand is here, once.
The modules follow the audience: ``ledger``, ``patients``, ``custody``, ``staff``, ``audit``.
"""
