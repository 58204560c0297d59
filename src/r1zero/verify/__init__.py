"""Response and gold answers → verdict: `extract` finds the answer, `grade_exact` decides what is cheap, `Verifier` all.

Importing this package costs nothing: neither torch nor sympy nor Math-Verify is ever imported in the caller's process.
"""

from r1zero.verify.extraction.extract import extract
from r1zero.verify.grade import grade_exact
from r1zero.verify.workers.pool import Verifier
