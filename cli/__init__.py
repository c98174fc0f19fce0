"""`phr`: the command line of patients, hospitals, members, auditors, researchers, operators and the administrator.

``cli.main`` lists the groups of commands, ``cli.output`` prints, ``cli.words`` reads what people type, and
``cli.failures`` turns every error into a line and an exit code. Nothing imports this package.
"""
