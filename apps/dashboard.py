"""The dashboard: what `panel serve apps/dashboard.py` is given; `bnnlab serve` is safer."""

from bnnlab.ui.dashboard import dashboard

dashboard().servable(title="bnnlab")
