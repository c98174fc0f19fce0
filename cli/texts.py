"""Every sentence that a person reads passes through ``_``, so that it can be translated (GNU gettext, domain ``phr``).

Catalogues are read from ``cli/locale/<language>/LC_MESSAGES/phr.mo``; the language is that of ``LANGUAGE``, ``LC_ALL``,
``LC_MESSAGES`` or ``LANG``. Without a catalogue the English sentence stands.
"""

import gettext
from pathlib import Path

_translation = gettext.translation("phr", Path(__file__).with_name("locale"), fallback=True)
_ = _translation.gettext
plural = _translation.ngettext
