# -*- coding: utf-8 -*-
"""Makes ansible_collections.gpufleet.workstation importable from this checkout, whatever the checkout is called."""

import os
import sys

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(CHECKOUT, ".collections"))
